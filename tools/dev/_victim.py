"""A training process that kills itself at a chosen call, or counts its calls.

SIGKILL cannot be caught: whichever call it interrupts, no handler, ``finally``
or ``atexit`` runs, buffers of the process are lost and files stay as they are.
"""

import io
import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Optional

ROOT = Path(__file__).resolve().parents[2]
PIECE = 2048  # bytes that the disk takes at once
PHASES = (
    'search',
    'transition',
    'fine-tune',
    'export',
    'save',
    'write',
    'resume',
)


class SlowFile(io.FileIO):
    """A file to which data go in small pieces, so that it can be half done."""

    def write(self, data: Any) -> int:
        """Write piece by piece; a process may die between two."""
        whole = memoryview(data)
        for start in range(0, len(whole), PIECE):
            super().write(whole[start : start + PIECE])
        return len(whole)


class Calls:
    """Counts function calls in each phase of a run; kills at one of them.

    Args:
        phase (str, optional): Where to kill; nowhere by default.
        number (int): Of the call in this phase, from 1.
    """

    def __init__(self, phase: Optional[str] = None, number: int = 0) -> None:
        self.phase, self.number = phase, number
        self.counts = dict.fromkeys(PHASES, 0)
        self.stack: list[tuple[int, str]] = []
        self.was_cut = False
        self.marks = _marks()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Note one event of ``sys.setprofile``."""
        code = id(frame.f_code)
        if event == 'call' and code in self.marks:
            phase = self.marks[code]
            self.was_cut |= phase == 'cut'
            self.stack.append((id(frame), phase))
        elif event == 'return' and self.stack:
            if self.stack[-1][0] == id(frame):
                self.stack.pop()
        if self.stack and event in ('call', 'c_call'):
            self._count(self.stack[-1][1])

    def _count(self, phase: str) -> None:
        if phase == 'step':
            phase = 'fine-tune' if self.was_cut else 'search'
        elif phase == 'cut':
            phase = self.stack[-2][1] if len(self.stack) > 1 else 'resume'
        self.counts[phase] += 1
        if phase == self.phase and self.counts[phase] == self.number:
            os.kill(os.getpid(), signal.SIGKILL)


def _marks() -> dict[int, str]:
    """Functions with which a phase begins and ends, by their code."""
    from mmengine.hooks import CheckpointHook
    from mmengine.runner import (
        EpochBasedTrainLoop,
        IterBasedTrainLoop,
        Runner,
    )

    from mmdhp.checkpoints import saving
    from mmdhp.engine import PruningHook, pruning_hook

    functions: dict[Callable, str] = {
        Runner.load_or_resume: 'resume',
        EpochBasedTrainLoop.run_iter: 'step',
        IterBasedTrainLoop.run_iter: 'step',
        PruningHook._transition: 'transition',
        PruningHook.restructure: 'cut',
        CheckpointHook._save_checkpoint_with_step: 'save',
        pruning_hook.save_transition: 'save',
        saving.write_atomically: 'write',
        PruningHook.export_model: 'export',
    }
    return {id(f.__code__): phase for f, phase in functions.items()}


def live(
    config: str, work_dir: str, phase: Optional[str], number: int
) -> None:
    """Run ``tools/train.py --resume``, perhaps not to its end.

    Args:
        config (str): File.
        work_dir (str): Of the run; its output goes to ``output.txt`` there,
            the number of calls in each phase and the time it took to
            ``calls.json``.
        phase (str, optional): As for :class:`Calls`; ``'clock'`` leaves the
            run as it is, to be killed from outside.
        number (int): As for :class:`Calls`.
    """
    os.makedirs(work_dir, exist_ok=True)
    output = os.open(f'{work_dir}/output.txt', os.O_CREAT | os.O_WRONLY)
    os.lseek(output, 0, os.SEEK_END)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.path[:0] = [str(ROOT / 'tools'), str(ROOT / 'tests')]
    sys.argv = ['train.py', config, '--work-dir', work_dir, '--resume']
    import torch

    from mmdhp.checkpoints import saving

    torch.set_num_threads(1)
    saving.open = lambda path, *_, **__: SlowFile(path, 'wb')  # type: ignore
    calls, start = Calls(phase, number), time.monotonic()
    if phase != 'clock':
        sys.setprofile(calls)
    runpy.run_path(str(ROOT / 'tools' / 'train.py'), run_name='__main__')
    sys.setprofile(None)
    found = {**calls.counts, 'seconds': time.monotonic() - start}
    Path(work_dir, 'calls.json').write_text(json.dumps(found))
