"""Checkpoints that a killed process leaves whole, where the Runner puts them.

A run may die at any moment, also while it saves. What it leaves must be the
new checkpoint, or the one before it, never half of one and never none.
"""

import os
import os.path as osp
from collections.abc import Iterator
from pathlib import Path
from typing import Union

from mmengine import dist
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmdhp.stages.runner_facts import by_epoch, position

BACKEND = 'mmdhp.atomic'


@register_backend(BACKEND, force=True)
class AtomicBackend(LocalBackend):
    """Local files that appear whole or not at all, and go with a delay.

    MMEngine removes an old checkpoint before it has written the new one that
    replaces it. Here, the old one stays until :meth:`release`.
    """

    def __init__(self) -> None:
        self._leaving: dict[str, int] = {}  # path → time of its last change

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write a file, which appears once it is complete."""
        write_atomically(str(filepath), obj)

    def put_text(
        self, obj: str, filepath: Union[str, Path], encoding: str = 'utf-8'
    ) -> None:
        """Write a text file, which appears once it is complete."""
        write_atomically(str(filepath), obj.encode(encoding))

    def remove(self, filepath: Union[str, Path]) -> None:
        """Note a file that :meth:`release` will remove."""
        self._leaving[str(filepath)] = os.stat(filepath).st_mtime_ns

    def release(self) -> None:
        """Remove the files noted, but for those written again since."""
        for path, changed in self._leaving.items():
            if osp.isfile(path) and os.stat(path).st_mtime_ns == changed:
                super().remove(path)
        self._leaving.clear()


def write_atomically(path: str, content: Union[str, bytes]) -> None:
    """Write a file that is never seen half-written, not even by a crash.

    Args:
        path (str): Its folder is created if there is none.
        content (str | bytes): Text is encoded in UTF-8.
    """
    folder, name = osp.split(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    part = osp.join(folder, f'.{name}.part')
    data = content.encode() if isinstance(content, str) else content
    with open(part, 'wb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def checkpoint_hooks(runner: Runner) -> Iterator[CheckpointHook]:
    """The Runner's hooks that save checkpoints."""
    return (h for h in runner.hooks if isinstance(h, CheckpointHook))


def protect_checkpoints(runner: Runner) -> None:
    """Let hooks write local checkpoints by :class:`AtomicBackend`, in place.

    Files that go elsewhere, or by a backend that the config names, are left
    to it.

    Args:
        runner (Runner): Before its training starts.
    """
    for hook in checkpoint_hooks(runner):
        plain = hook.backend_args in (None, {}, {'backend': 'local'})
        local = '://' not in str(hook.out_dir or runner.work_dir)
        if plain and local and hook.file_client_args is None:
            hook.backend_args = {'backend': BACKEND}


def release_replaced(runner: Runner) -> None:
    """Remove checkpoints whose successors are complete."""
    for hook in checkpoint_hooks(runner):
        backend = getattr(hook, 'file_backend', None)
        if isinstance(backend, AtomicBackend):
            backend.release()


def save_transition(runner: Runner) -> None:
    """Save a checkpoint and point ``last_checkpoint`` to it.

    Args:
        runner (Runner): Its model has just been cut.
    """
    folder, backend = runner.work_dir, {'backend': BACKEND}
    for hook in checkpoint_hooks(runner):
        folder = str(hook.out_dir or folder)
        backend = hook.backend_args
    name = f'pruned_start_{"epoch" if by_epoch(runner) else "iter"}'
    name = f'{name}_{position(runner)}.pth'
    runner.save_checkpoint(
        folder,
        name,
        meta={'epoch': runner.epoch, 'iter': runner.iter},
        by_epoch=by_epoch(runner),
        backend_args=backend,
    )
    if dist.is_main_process():
        path = osp.join(folder, name)
        write_atomically(osp.join(runner.work_dir, 'last_checkpoint'), path)
