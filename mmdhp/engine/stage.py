"""Length and schedule of a stage, in the train loop's own unit."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmdhp.methods.options import check_dict, check_int, unknown_keys

SEARCH_KEYS = (
    'max_epochs',
    'max_iters',
    'param_scheduler',
    'samples',
    'dataloader',
)


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


def start_stage(
    runner: Runner, wrapper: OptimWrapper, schedulers: Any, length: int
) -> None:
    """Install an optimizer wrapper, and schedulers that start now.

    Args:
        runner (Runner): It trains with both from now on.
        wrapper (OptimWrapper): As built, with the config's learning rate.
        schedulers (dict | list | None): As in an MM config.
        length (int): Of the stage, in the loop's own unit.
    """
    runner.optim_wrapper = wrapper
    runner.param_schedulers = []
    runner.scale_lr(wrapper, runner.auto_scale_lr)
    with temporary_length(runner, length):
        runner.param_schedulers = runner.build_param_scheduler(
            copy.deepcopy(schedulers or [])
        )


def rehearse(
    runner: Runner, schedulers: Any, lr: float, steps: int
) -> list[float]:
    """Learning rates that schedulers will lead to.

    Args:
        runner (Runner): It builds the schedulers.
        schedulers (dict | list | None): As in an MM config, counted from the
            start of the stage.
        lr (float): Learning rate at the start, before any scheduler.
        steps (int): Iterations of the stage.

    Returns:
        list[float]: Learning rate of every iteration.
    """
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    saved = runner.optim_wrapper
    runner.optim_wrapper = OptimWrapper(optimizer)
    try:
        rehearsed = runner.build_param_scheduler(
            copy.deepcopy(schedulers or [])
        )
    finally:
        runner.optim_wrapper = saved
    epoch = len(runner.train_dataloader) if by_epoch(runner) else steps
    rates = []
    for step in range(1, steps + 1):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()  # or PyTorch warns
        for scheduler in rehearsed:
            if not scheduler.by_epoch or step % epoch == 0:
                scheduler.step()
    return rates


def check_search(search: Any) -> dict:
    """Refuse keys and values of a search that cannot work.

    Args:
        search (Any): The hook's argument, a dict or None.

    Returns:
        dict: A copy.

    Raises:
        TypeError: If it is no dict, has an unknown key, or a value is of the
            wrong type.
        ValueError: If a number is out of range, or two keys contradict.
    """
    if search is None:
        return {}
    subject = 'PruningHook: search'
    check_dict(subject, search, 'dict(max_epochs=5)')
    problem = unknown_keys(subject, search, SEARCH_KEYS)
    if problem:
        raise TypeError(problem)
    for key in ('max_epochs', 'max_iters', 'samples'):
        if key in search and (key != 'samples' or search[key] is not None):
            check_int(f'{subject} {key}', search[key], 1)
    if {'max_epochs', 'max_iters'} <= search.keys():
        raise ValueError(
            f'{subject} has max_epochs={search["max_epochs"]} and max_iters='
            f'{search["max_iters"]}; give the one that the train loop counts.'
        )
    if search.get('dataloader') is not None:
        example = 'dict(batch_size=32)'
        check_dict(f'{subject} dataloader', search['dataloader'], example)
    schedulers = search.get('param_scheduler') or []
    if not isinstance(schedulers, (list, tuple)):
        schedulers = [schedulers]
    for scheduler in schedulers:
        example = "dict(type='CosineAnnealingLR', by_epoch=True)"
        check_dict(f'{subject} param_scheduler', scheduler, example)
        if not scheduler.get('type'):
            raise KeyError(
                f'{subject} param_scheduler is {dict(scheduler)}, without a '
                f'`type`; give one, as in {example}.'
            )
    return dict(search)


def search_length(
    runner: Runner, search: dict, fine_tune: int, fraction: float
) -> int:
    """Length of the search, in the loop's own unit.

    Args:
        runner (Runner): The runner.
        search (dict): With ``max_epochs`` or ``max_iters``, or neither.
        fine_tune (int): Length of the fine-tuning.
        fraction (float): Of it, the search's length by default. With 0 there
            is no search.

    Raises:
        ValueError: If it is given in the other unit, or to a method without
            a search.
    """
    right, wrong = 'max_epochs', 'max_iters'
    if not by_epoch(runner):
        right, wrong = wrong, right
    if not fraction:
        if search:
            raise ValueError(
                f'PruningHook: search is {search}, but the method selects '
                'without a search. Remove it.'
            )
        return 0
    if wrong in search:
        raise ValueError(
            f'PruningHook: search has {wrong}={search[wrong]!r}, but '
            f'{type(runner.train_loop).__name__} counts {unit(runner)}; give '
            f'search=dict({right}=...).'
        )
    return search.get(right, max(int(fine_tune * fraction), 1))
