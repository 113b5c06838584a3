"""Optimizer and learning rates of a stage."""

import copy
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from .runner_facts import by_epoch, temporary_length


def known_schedulers(runner: Runner) -> Any:
    """Config of a run's own schedulers, or None.

    Raises:
        ValueError: If they are there, but not their config.
    """
    schedulers = runner.cfg.get('param_scheduler')
    if schedulers is None and runner.param_schedulers:
        raise ValueError(
            f'PruningHook found {len(runner.param_schedulers)} built '
            'schedulers, but needs their config: build the Runner with '
            'Runner.from_cfg(cfg), or pass `cfg` with its '
            '`param_scheduler`.'
        )
    return schedulers


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
