"""The course of a run, read from what it has written while it trained."""

import glob
import json
import os.path as osp
import re
from dataclasses import dataclass, field
from typing import Any, Optional

from mmdhp.engine.history import FILE, FORMAT_VERSION

# Entries of a validation that are no measures.
NO_METRICS = ('step', 'iter', 'epoch', 'data_time', 'time')


@dataclass
class Course:
    """What happened in a run, in order.

    An interrupted run counts up to the iteration from which it was resumed.

    Attributes:
        start (dict): First line of the newest history; empty without one.
        looks (list[dict]): At the search.
        cut (dict | None): The transition.
        validations (list[dict]): With ``iter`` and ``metrics``.
        training (list[dict]): Logged training steps, with ``iter``.
        ended (bool): Whether training has come to its end.
        folders (list[str]): Names of the time-stamped log folders.
        trained (str): The newest of them in which there was a training.
    """

    start: dict[str, Any] = field(default_factory=dict)
    looks: list[dict] = field(default_factory=list)
    cut: Optional[dict] = None
    validations: list[dict] = field(default_factory=list)
    training: list[dict] = field(default_factory=list)
    ended: bool = False
    folders: list[str] = field(default_factory=list)
    trained: str = ''

    def rewind(self, start: int, state: str) -> None:
        """Forget, in place, what a resumed run does again.

        Args:
            start (int): Iterations behind which it goes on.
            state (str): ``'search'`` or ``'fine_tune'``.
        """
        for name in ('looks', 'validations', 'training'):
            entries = getattr(self, name)
            setattr(self, name, [e for e in entries if e['iter'] <= start])
        done = start if state == 'fine_tune' else start - 1
        if self.cut is not None and self.cut['iter'] > done:
            self.cut = None
        self.ended = False

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Iterations and values of a logged scalar."""
        found = [(e['iter'], e[key]) for e in self.training if key in e]
        return [i for i, _ in found], [value for _, value in found]

    @property
    def metrics(self) -> dict[str, float]:
        """Those of the last validation."""
        return self.validations[-1]['metrics'] if self.validations else {}


def read_course(work_dir: str) -> Course:
    """Put the logs of a run together, of every start of it.

    Args:
        work_dir (str): Folder of the run.

    Raises:
        ValueError: If a history was written by a newer mmdhp.
    """
    course = Course()
    folders = sorted(
        folder
        for folder in glob.glob(osp.join(glob.escape(work_dir), '*'))
        if _is_log_folder(folder)
    )
    for folder in folders:
        course.folders.append(osp.basename(folder))
        history = _lines(osp.join(folder, FILE))
        scalars = _lines(osp.join(folder, 'vis_data', 'scalars.json'))
        if history:
            _add_history(course, history)
        elif scalars:
            first = next((e['iter'] for e in scalars if 'iter' in e), 1)
            course.rewind(first - 1, 'search')
        _add_scalars(course, scalars, bool(history))
        if history or any('iter' in entry for entry in scalars):
            course.trained = course.folders[-1]
    return course


def _is_log_folder(folder: str) -> bool:
    name = osp.basename(folder)
    logs = osp.isfile(osp.join(folder, f'{name}.log'))
    return logs or osp.isdir(osp.join(folder, 'vis_data'))


def _lines(path: str) -> list[dict[str, Any]]:
    """Objects of a file; a line that was being written is left out."""
    if not osp.isfile(path):
        return []
    found = []
    with open(path, encoding='utf-8', errors='replace') as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
    return found


def _add_history(course: Course, entries: list[dict]) -> None:
    for entry in entries:
        kind = entry.get('kind')
        if kind == 'start':
            _check_version(entry)
            course.rewind(entry['iter'], entry['state'])
            course.start = entry
        elif kind == 'look':
            course.looks.append(entry)
        elif kind == 'cut':
            course.cut = entry
        elif kind == 'validation':
            course.validations.append(entry)
        elif kind == 'end':
            course.ended = True


def _check_version(entry: dict) -> None:
    if entry['format_version'] > FORMAT_VERSION:
        raise ValueError(
            f'The history of this run has format {entry["format_version"]}, '
            f'but this mmdhp reads up to {FORMAT_VERSION}. Update mmdhp.'
        )


def _add_scalars(course: Course, entries: list[dict], noted: bool) -> None:
    """Add logged steps; validations, too, if there is no history."""
    last = 0
    for entry in entries:
        if 'iter' in entry:
            last = entry['iter']
            while course.training and course.training[-1]['iter'] >= last:
                course.training.pop()  # of a start in the same second
            course.training.append(entry)
        elif not noted:
            metrics = {
                key: float(value)
                for key, value in entry.items()
                if key not in NO_METRICS and isinstance(value, (int, float))
            }
            course.validations.append({'iter': last, 'metrics': metrics})


def environment(work_dir: str, folders: list[str]) -> list[tuple[str, str]]:
    """Name and value of what MMEngine logs about machine and versions.

    Args:
        work_dir (str): Folder of the run.
        folders (list[str]): Its log folders; the newest that tells counts.
    """
    for name in reversed(folders):
        path = osp.join(work_dir, name, f'{name}.log')
        if not osp.isfile(path):
            continue
        with open(path, encoding='utf-8', errors='replace') as file:
            head = file.read(100_000)
        block = head.partition('System environment:')[2]
        pairs = re.findall(
            r'^ {4}(\S[^:\n]*): (.*[^:\n])$',
            block.partition('\n------')[0],
            re.M,
        )
        if pairs:
            return [(key, value.strip()) for key, value in pairs]
    return []


def cut_of_checkpoints(work_dir: str, course: Course) -> Optional[int]:
    """Iteration of the transition of a run without a history.

    Args:
        work_dir (str): With ``pruned_start_epoch_3.pth`` or the like.
        course (Course): Of the run, for the iterations of its epochs.
    """
    for path in glob.glob(osp.join(glob.escape(work_dir), 'pruned_start_*')):
        kind, _, number = osp.basename(path)[13:-4].partition('_')
        if not number.isdigit():
            continue
        if kind == 'iter':
            return int(number)
        before = [
            entry['iter']
            for entry in course.training
            if entry.get('epoch', 0) <= int(number)
        ]
        return max(before, default=0)
    return None
