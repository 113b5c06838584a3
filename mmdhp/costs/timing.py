"""Wall-clock time of functions, on a machine that may be busy.

Others on the machine only ever slow a function down. Functions that are
compared take turns, so that all of them are slowed.
"""

import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Optional

import torch
from torch import Tensor

_SAMPLE = 3e-4  # seconds that one sample lasts at least
_LEAST_ROUNDS = 3

Clock = Callable[[], float]


def interleaved(
    functions: Sequence[Callable[[], Any]],
    device: torch.device,
    rounds: int = 15,
    *,
    warm_up: int = 1,
    clock: Clock = time.perf_counter,
    repeats: Optional[Sequence[int]] = None,
    seconds: float = math.inf,
) -> list[list[float]]:
    """Time of functions that take turns.

    A machine that is busy for a while slows all of them, so that ratios
    within a round can be trusted more than times.

    Args:
        functions (Sequence[Callable]): What to run.
        device (torch.device): Where they compute; a GPU is waited for.
        rounds (int): Samples of each. Defaults to 15.
        warm_up (int): Rounds before that, which do not count. Defaults to 1.
        clock (Callable): Returns seconds. Defaults to the wall's.
        repeats (Sequence[int], optional): Runs per sample of each. Defaults
            to None, one.
        seconds (float): Time for all of them; fewer samples are taken where
            it is short, but at least 3. Defaults to infinity.

    Returns:
        list[list[float]]: Seconds of one run, by function and round.
    """
    end = time.monotonic() + seconds
    counts = repeats or [1] * len(functions)
    for _ in range(warm_up):
        for function in functions:
            function()
    times: list[list[float]] = [[] for _ in functions]
    for done in range(rounds):
        if done >= _LEAST_ROUNDS and time.monotonic() > end:
            break
        for function, count, own in zip(functions, counts, times):
            own.append(_sample(function, count, device, clock))
    return times


def _sample(
    function: Callable[[], Any],
    repeats: int,
    device: torch.device,
    clock: Clock,
) -> float:
    """Seconds of one of several runs."""
    wait(device)
    start = clock()
    for _ in range(repeats):
        function()
    wait(device)
    return (clock() - start) / repeats


@torch.no_grad()
def undisturbed(
    functions: Sequence[Callable[[], Any]],
    device: torch.device,
    rounds: int = 9,
    seconds: float = math.inf,
    clock: Optional[Clock] = None,
) -> list[float]:
    """Time of several functions: the median of the faster half of samples.

    The first two runs of each do not count; short functions run several times
    per sample.

    Args:
        functions (Sequence[Callable]): What to run.
        device (torch.device): Where they compute.
        rounds (int): Samples of each. Defaults to 9.
        seconds (float): Time for all of them; see :func:`interleaved`.
            Defaults to infinity.
        clock (Callable, optional): Seconds. Defaults to None, the one of
            :func:`best_clock`.

    Returns:
        list[float]: Milliseconds.
    """
    clock = clock or best_clock(device)
    end = time.monotonic() + seconds
    first = interleaved(functions, device, 1, clock=clock)
    times = interleaved(
        functions,
        device,
        rounds,
        warm_up=0,
        clock=clock,
        repeats=[max(math.ceil(_SAMPLE / max(t, 1e-7)), 1) for (t,) in first],
        seconds=end - time.monotonic(),
    )
    half = (len(times[0]) + 1) // 2 if times else 0
    return [1e3 * statistics.median(sorted(own)[:half]) for own in times]


@torch.no_grad()
def latencies(
    models: Sequence[Any],
    inputs: Tensor,
    forward: Callable[[Any, Any], Any],
    rounds: int = 15,
) -> list[float]:
    """Median time of one forward pass of several models that take turns.

    Args:
        models (Sequence): Networks on one device, in eval mode, or whatever
            ``forward`` runs.
        inputs (Tensor): Batch on that device.
        forward (Callable): Runs a model.
        rounds (int): Passes per model behind a first one that does not count.
            Defaults to 15.

    Returns:
        list[float]: Milliseconds.
    """
    calls = [functools.partial(forward, model, inputs) for model in models]
    times = interleaved(calls, inputs.device, rounds)
    return [1e3 * statistics.median(own) for own in times]


def best_clock(device: torch.device) -> Clock:
    """The clock that other processes disturb least.

    A single thread on a CPU goes by the time that it computes: what it waits
    for its turn on a busy machine is not its latency. Elsewhere it is the
    time that passes.

    Args:
        device (torch.device): Where the functions compute.
    """
    if device.type == 'cpu' and torch.get_num_threads() == 1:
        return time.thread_time
    return time.perf_counter


def wait(device: torch.device) -> None:
    """Let a device finish."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


@contextmanager
def threads(count: Optional[int]) -> Iterator[None]:
    """Compute with some number of threads, None for as many as now."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
