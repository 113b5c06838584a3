"""What a Runner holds: its model, and its loop's unit, position and length."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def unwrapped(runner: Runner) -> nn.Module:
    """The model itself, without DDP around it."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def by_epoch(runner: Runner) -> bool:
    """Whether the train loop counts epochs."""
    return hasattr(runner.train_loop, 'run_epoch')


def unit(runner: Runner) -> str:
    """What the train loop counts, ``'epochs'`` or ``'iterations'``."""
    return 'epochs' if by_epoch(runner) else 'iterations'


def position(runner: Runner) -> int:
    """Where training stands, in the loop's own unit."""
    return runner.epoch if by_epoch(runner) else runner.iter


def loop_length(runner: Runner) -> int:
    """Length of training in the loop's own unit."""
    loop = runner.train_loop
    return loop.max_epochs if by_epoch(runner) else loop.max_iters


def set_loop_length(runner: Runner, length: int) -> None:
    """Change the length of training, in the loop's own unit."""
    loop = runner.train_loop
    if by_epoch(runner):  # epochs of the search may be shorter
        left = length - loop._epoch
        loop._max_epochs = length
        loop._max_iters = loop._iter + left * len(loop.dataloader)
    else:
        loop._max_iters = length
    runner.message_hub.update_info('max_epochs', loop.max_epochs)
    runner.message_hub.update_info('max_iters', loop.max_iters)


@contextmanager
def temporary_length(runner: Runner, length: int) -> Iterator[None]:
    """Pretend that training has some length, for what derives from it."""
    saved = loop_length(runner)
    set_loop_length(runner, length)
    try:
        yield
    finally:
        set_loop_length(runner, saved)
