"""Wall-clock time of functions, on a machine that may be busy."""

import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Optional

import torch

_SAMPLE = 3e-4  # seconds that one sample lasts at least
_LEAST_ROUNDS = 3
_BAR = 24  # characters

Clock = Callable[[], float]


def interleaved(
    functions: Sequence[Callable[[], Any]],
    device: torch.device,
    rounds: int = 9,
    seconds: float = math.inf,
    clock: Optional[Clock] = None,
) -> list[float]:
    """Time of several functions: the median of the faster half of samples.

    Others on the machine only ever slow a function down. Samples are
    interleaved, so that they slow all of them. The first two runs of each do
    not count; short functions run several times per sample.

    Args:
        functions (Sequence[Callable]): What to run.
        device (torch.device): Where they compute.
        rounds (int): Samples of each. Defaults to 9.
        seconds (float): Time for all of them; fewer samples are taken where
            it is short, but at least 3. Defaults to infinity.
        clock (Callable, optional): Seconds. Defaults to None, the one of
            :func:`best_clock`.

    Returns:
        list[float]: Milliseconds.
    """
    clock = clock or best_clock(device)

    def sample(function: Callable[[], Any], repeats: int) -> float:
        wait(device)
        start = clock()
        for _ in range(repeats):
            function()
        wait(device)
        return (clock() - start) / repeats

    end = time.monotonic() + seconds
    with torch.no_grad():
        for function in functions:
            function()
        first = [sample(function, 1) for function in functions]
        repeats = [max(math.ceil(_SAMPLE / max(t, 1e-7)), 1) for t in first]
        times: list[list[float]] = [[] for _ in functions]
        for done in range(rounds):
            if done >= _LEAST_ROUNDS and time.monotonic() > end:
                break
            for function, count, own in zip(functions, repeats, times):
                own.append(sample(function, count))
    half = (len(times[0]) + 1) // 2 if times else 0
    return [1e3 * statistics.median(sorted(own)[:half]) for own in times]


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


def environment(device: torch.device) -> dict[str, Any]:
    """What the time of an operator depends on besides itself.

    Args:
        device (torch.device): Where it runs.
    """
    name = cpu_name()
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
    return {
        'device': name,
        'threads': torch.get_num_threads(),
        'torch': str(torch.__version__),
        'benchmark': torch.backends.cudnn.benchmark,
        'tf32': torch.backends.cudnn.allow_tf32,
    }


def cpu_name() -> str:
    """Model of the processor, as far as the system tells."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                if line.startswith(('model name', 'Model')):
                    return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class ProgressBar:
    """A line on a terminal that is written again and again.

    Args:
        title (str): What is going on.
        total (int): Number of steps.
    """

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self._begin = time.monotonic()
        self._shown = sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Say how many steps are done; the last one ends the line."""
        if not self._shown:
            return
        full = _BAR * done // max(self.total, 1)
        spent = time.monotonic() - self._begin
        left = spent / max(done, 1) * (self.total - done)
        sys.stderr.write(
            f'\r{self.title} [{"=" * full}{" " * (_BAR - full)}] '
            f'{done}/{self.total}, {spent:.0f} s, {left:.0f} s left '
            + ('\n' if done == self.total else '')
        )
        sys.stderr.flush()
