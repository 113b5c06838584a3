"""The checkpoint behind a transition, where the Runner puts its own."""

import os
import os.path as osp

from mmengine import dist
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from .stage import by_epoch, position


def save_transition(runner: Runner) -> None:
    """Save a checkpoint and point ``last_checkpoint`` to it.

    Both files appear whole or not at all.

    Args:
        runner (Runner): Its model has just been cut.
    """
    folder, arguments = runner.work_dir, {}
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            folder = str(hook.out_dir or folder)
            arguments['backend_args'] = hook.backend_args
    name = f'pruned_start_{"epoch" if by_epoch(runner) else "iter"}'
    name = f'{name}_{position(runner)}.pth'
    local = '://' not in folder and not arguments.get('backend_args')
    part = f'.{name}.part' if local else name
    runner.save_checkpoint(
        folder,
        part,
        meta={'epoch': runner.epoch, 'iter': runner.iter},
        by_epoch=by_epoch(runner),
        **arguments,
    )
    if dist.is_main_process():
        path = osp.join(folder, name)
        if local:
            os.replace(osp.join(folder, part), path)
        write_atomically(osp.join(runner.work_dir, 'last_checkpoint'), path)


def write_atomically(path: str, text: str) -> None:
    """Write a text file that is never seen half-written."""
    part = f'{path}.part'
    with open(part, 'w', encoding='utf-8') as file:
        file.write(text)
    os.replace(part, path)
