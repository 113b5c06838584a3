"""Wall-clock time of forward passes, and of anything else."""

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmdhp.models.model_forward import run_model


@torch.no_grad()
def latencies(
    models: Sequence[nn.Module],
    inputs: Tensor,
    rounds: int = 15,
    forward: Callable[[nn.Module, Any], Any] = run_model,
) -> list[float]:
    """Median time of one forward pass of several models.

    Their passes are interleaved, so that a busy machine slows all of them.

    Args:
        models (Sequence[nn.Module]): Models on one device, in eval mode.
        inputs (Tensor): Batch on that device.
        rounds (int): Passes per model behind a first one that does not count.
            Defaults to 15.
        forward (Callable): Runs a model. Defaults to :func:`run_model`.

    Returns:
        list[float]: Milliseconds.
    """
    calls = [functools.partial(forward, model, inputs) for model in models]
    times = interleaved(calls, inputs.device, rounds)
    return [1e3 * statistics.median(own) for own in times]


def interleaved(
    calls: Sequence[Callable[[], Any]],
    device: torch.device,
    rounds: int = 15,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time of calls that take turns.

    A machine that is busy for a while slows all of them, so that ratios
    within a round can be trusted more than times.

    Args:
        calls (Sequence[Callable]): What to time.
        device (torch.device): On which they work; a GPU is waited for.
        rounds (int): Defaults to 15.
        warm_up (int): Rounds before that, which do not count. Defaults to 1.
        clock (Callable): Returns seconds. Defaults to the wall's.

    Returns:
        list[list[float]]: Seconds by call and round.
    """
    for _ in range(warm_up):
        for call in calls:
            call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, own in zip(calls, times):
            _wait(device)
            start = clock()
            call()
            _wait(device)
            own.append(clock() - start)
    return times


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
