#!/usr/bin/env python
"""Kill real training processes at random moments, resume them, compare.

A run that is never killed is the reference. Others are killed (SIGKILL) again
and again: at a random function call in the search, the transition, the
fine-tuning, the export, while a checkpoint is written and while a killed run
is being resumed, or from outside at a random time. Every one is resumed with
--resume and must end as the reference: the same channels, bit-equal weights
and optimizer state in the last checkpoint, the same exported files.
"""

import argparse
import collections
import itertools
import json
import multiprocessing
import os
import os.path as osp
import random
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

sys.path[:0] = [
    str(Path(__file__).resolve().parent),
    str(Path(__file__).resolve().parents[2] / 'tests'),
]

import _victim  # noqa: E402
import torch  # noqa: E402
from torch.utils._pytree import tree_flatten_with_path  # noqa: E402

from mmdhp.checkpoints.checkpoint_file import (  # noqa: E402
    read_checkpoint,
    resume_point,
)
from mmdhp.text import table  # noqa: E402

METHODS = ('DHP', 'HSN', 'LWDNA', 'OneShot')
LOOPS = ('iterations', 'epochs')
PRELOADED = ['torch', 'mmengine.runner', 'mmdhp.engine']
LIMIT = 600  # seconds that one process may take on a busy machine
UNCOUNTED = 'clock'
EVERYWHERE = (*_victim.PHASES, UNCOUNTED)
IN_ORDER = ('search', 'transition', 'fine-tune', 'export')  # once each


@dataclass
class Kind:
    """A method in a train loop, and its run that nobody killed."""

    name: str
    config: str
    folder: str
    calls: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kill:
    """What a kill met.

    Attributes:
        kind (str): Method and loop.
        phase (str): Where it hit.
        half (bool): Whether it left a half-written file.
        next (str): Checkpoint that the run goes on from.
    """

    kind: str
    phase: str
    half: bool
    next: str


def parse_args(arguments: Optional[list[str]] = None) -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--kills', type=int, default=50, help='default: %(default)s'
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        choices=METHODS,
        default=METHODS,
        help='default: all',
    )
    parser.add_argument(
        '--loops', nargs='+', choices=LOOPS, default=LOOPS, help='default: all'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of the moments (default: 0)'
    )
    parser.add_argument(
        '--work-dir',
        help='keeps all runs (default: a temporary folder, removed)',
    )
    return parser.parse_args(arguments)


def write_config(method: str, loop: str, folder: str) -> str:
    """Write the config of a small run of a method; return its path."""
    import toy

    changes: dict[str, Any] = {
        'DHP': dict,
        'HSN': toy.hsn,
        'LWDNA': toy.lwdna,
        'OneShot': toy.oneshot,
    }[method]()
    if 'load_from' in changes:  # toy's own folder goes with this process
        kept = osp.join(folder, 'trained.pth')
        shutil.copy(changes['load_from'], kept)
        changes['load_from'] = kept
    cfg = toy.config(folder, loop == 'epochs', **changes)
    cfg.default_hooks.checkpoint.max_keep_ckpts = 2
    cfg.default_hooks.checkpoint.save_best = 'score'
    cfg.default_hooks.checkpoint.rule = 'greater'
    cfg.custom_imports = {'imports': ['toy']}
    cfg.pop('work_dir')
    path = osp.join(folder, f'{method}_{loop}.py')
    cfg.dump(path)
    return path


class Life:
    """Processes of one run, one behind the other.

    Args:
        kind (Kind): What is run.
        work_dir (str): Of the run.
    """

    def __init__(self, kind: Kind, work_dir: str) -> None:
        self.kind, self.work_dir = kind, work_dir
        self._context = multiprocessing.get_context('forkserver')
        self._context.set_forkserver_preload(PRELOADED)

    def run(self, phase: Optional[str], number: float = 0) -> bool:
        """Start or resume the run.

        Args:
            phase (str, optional): Where it is killed; nowhere by default.
            number (float): At which call, or behind how many seconds.

        Returns:
            bool: Whether it was killed; else it has ended.

        Raises:
            RuntimeError: If it failed.
        """
        counted = 0 if phase == UNCOUNTED else int(number)
        process = self._context.Process(
            target=_victim.live,
            args=(self.kind.config, self.work_dir, phase, counted),
        )
        process.start()
        if phase == UNCOUNTED:
            process.join(number)
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
        process.join(LIMIT)
        if process.exitcode not in (0, -signal.SIGKILL):
            process.kill()
            raise RuntimeError(
                f'{self.kind.name}: the process ended with '
                f'{process.exitcode}; see {self.work_dir}/output.txt:\n'
                + Path(self.work_dir, 'output.txt').read_text()[-2000:]
            )
        return process.exitcode != 0

    def kill(self, phase: str, number: float) -> Optional[Kill]:
        """Run until a kill; None if the run has ended before."""
        if not self.run(phase, number):
            return None
        found = resume_point(self.work_dir)
        return Kill(
            self.kind.name,
            phase,
            any(name.endswith('.part') for name in os.listdir(self.work_dir)),
            'the start' if found is None else osp.basename(found),
        )


def differences(work_dir: str, reference: str) -> list[str]:
    """What differs between two finished runs; empty if nothing does."""
    found = [
        _content(read_checkpoint(_last(folder)), folder)
        for folder in (work_dir, reference)
    ]
    first, second = found
    if first.keys() != second.keys():
        return sorted(first.keys() ^ second.keys())
    return [name for name in first if not _equal(first[name], second[name])]


def _last(folder: str) -> str:
    """The last checkpoint of a finished run."""
    path = resume_point(folder)
    if path is None:
        raise RuntimeError(f'{folder} holds no checkpoint.')
    return path


def _content(checkpoint: dict, folder: str) -> dict[str, Any]:
    """All that must be the same, by names."""
    wanted = {
        key: checkpoint[key]
        for key in ('state_dict', 'optimizer', 'param_schedulers')
    }
    record = checkpoint['mmdhp']
    wanted['mmdhp'] = {key: record[key] for key in ('state', 'keep', 'start')}
    exported = Path(folder, 'pruned')
    weights = read_checkpoint(str(exported / 'pruned.pth'))['state_dict']
    wanted['exported'] = weights
    wanted['channels'] = json.loads((exported / 'channels.json').read_text())
    wanted['name'] = osp.basename(_last(folder))
    leaves, _ = tree_flatten_with_path(wanted)
    return {''.join(map(str, path)): leaf for path, leaf in leaves}


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    return first == second


def references(args: argparse.Namespace, folder: str) -> list[Kind]:
    """Run every kind to its end, and count its calls."""
    kinds = []
    for method, loop in itertools.product(args.methods, args.loops):
        name = f'{method}, {loop}'
        work_dir = osp.join(folder, f'{method}_{loop}_whole')
        kind = Kind(name, write_config(method, loop, folder), work_dir)
        Life(kind, work_dir).run(None)
        kind.calls = json.loads(Path(work_dir, 'calls.json').read_text())
        kinds.append(kind)
        counted = sum(kind.calls[phase] for phase in _victim.PHASES)
        print(f'{name}: {counted} calls', flush=True)
    return kinds


def possible(kind: Kind, phase: str, done: list[Kill]) -> bool:
    """Whether a run of a kind can still be killed in a phase."""
    if phase == UNCOUNTED:
        return True
    if phase == 'resume' and not done:
        return False
    order = _victim.PHASES.index
    behind = [order(kill.phase) for kill in done if kill.phase in IN_ORDER]
    passed = phase in IN_ORDER and order(phase) <= max(behind, default=-1)
    return kind.calls[phase] > 1 and not passed


def moment(
    draw: random.Random, kind: Kind, phase: str, done: list[Kill]
) -> float:
    """When to kill: the number of a call, or seconds."""
    if phase == UNCOUNTED:
        return draw.uniform(0.0, kind.calls['seconds'])
    most = kind.calls[phase]
    if done and phase not in IN_ORDER:  # a part of them is behind the run
        most //= len(done) + 1
    return draw.randint(1, max(most, 1))


def torment(
    life: Life, draw: random.Random, wanted: list[str], most: int
) -> list[Kill]:
    """Kill a run now and then, and let it end.

    Args:
        life (Life): Not started yet.
        draw (Random): Of the moments.
        wanted (list[str]): Phases to kill in, the next one first; those that
            were hit are removed, in place.
        most (int): Kills at most.
    """
    kills: list[Kill] = []
    while len(kills) < most:
        phases = [p for p in wanted if possible(life.kind, p, kills)]
        if not phases:
            break
        number = moment(draw, life.kind, phases[0], kills)
        kill = life.kill(phases[0], number)
        if kill is None:  # it has ended before
            return kills
        wanted.remove(kill.phase)
        kills.append(kill)
        half = ', leaving half a file' if kill.half else ''
        print(
            f'  killed in {kill.phase}{half}: goes on from {kill.next}',
            flush=True,
        )
    life.run(None)
    counted = json.loads(Path(life.work_dir, 'calls.json').read_text())
    life.kind.calls['resume'] = counted['resume']
    return kills


def experiment(args: argparse.Namespace, folder: str) -> int:
    """Kill, resume, compare; print a table; return the number of failures."""
    draw = random.Random(args.seed)
    kinds = references(args, folder)
    wanted: list[str] = []
    kills: list[Kill] = []
    wrong: collections.Counter[str] = collections.Counter()
    for number, kind in enumerate(itertools.cycle(kinds)):
        if len(kills) >= args.kills:
            break
        if len(wanted) < len(EVERYWHERE):
            wanted += draw.sample(EVERYWHERE, len(EVERYWHERE))
        work_dir = osp.join(folder, f'life_{number}')
        print(f'life {number}: {kind.name}', flush=True)
        most = min(draw.randint(1, 4), args.kills - len(kills))
        own = torment(Life(kind, work_dir), draw, wanted, most)
        kills += own
        differ = differences(work_dir, kind.folder)
        if differ:
            print(f'  DIFFERS: {", ".join(differ[:5])}', flush=True)
            wrong.update({kill.phase for kill in own} | {'lives'})
        print(f'  ended ({len(kills)} of {args.kills} kills)', flush=True)
    print_table(kills, wrong, number)
    return wrong['lives']


def print_table(
    kills: list[Kill], wrong: collections.Counter[str], lives: int
) -> None:
    """What was tried, and what became of it."""
    rows = []
    for phase in EVERYWHERE:
        own = [kill for kill in kills if kill.phase == phase]
        rows.append(
            [
                phase,
                str(len(own)),
                str(sum(kill.half for kill in own)),
                str(len({kill.next for kill in own})),
                str(wrong[phase]),
            ]
        )
    header = [
        'killed in',
        'kills',
        'half-written',
        'resume points',
        'in runs that differ',
    ]
    print(table(rows, header))
    print(
        f'{len(kills)} kills in {lives} runs; {wrong["lives"]} of these '
        'differ from the run that nobody killed.'
    )


def main(arguments: Optional[list[str]] = None) -> int:
    """Run the experiment; return the number of runs that differ."""
    args = parse_args(arguments)
    if args.work_dir:
        os.makedirs(args.work_dir, exist_ok=True)
        return experiment(args, osp.abspath(args.work_dir))
    with tempfile.TemporaryDirectory() as folder:
        return experiment(args, folder)


if __name__ == '__main__':
    sys.exit(main())
