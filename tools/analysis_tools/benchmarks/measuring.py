"""What all parts of the benchmark share: options, ratios, memory."""

import argparse
import contextlib
import ctypes
import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable

import torch
from model_zoo.process import isolated

import mmdhp
from mmdhp.costs.timing import interleaved

_MIB = 2**20
_TIMEOUT = 1800.0  # seconds of one measurement of memory
_PROCESS = Path('/proc/self')  # of Linux


CLOCKS = {'wall': time.perf_counter, 'cpu': time.process_time}


class MeasurementError(RuntimeError):
    """The process whose memory was to be measured came to no end."""


def add_options(parser: argparse.ArgumentParser, rounds: int) -> None:
    """Options of every part."""
    parser.add_argument(
        '--rounds',
        type=int,
        default=rounds,
        help='how often everything is measured (default: %(default)s)',
    )
    parser.add_argument('--threads', type=int, help='CPU threads')
    parser.add_argument(
        '--clock',
        choices=CLOCKS,
        default='wall',
        help='what tells the time; on a CPU that others keep busy, "cpu" '
        'with one thread leaves out waiting for it (default: wall)',
    )
    parser.add_argument(
        '--device',
        type=torch.device,
        default=torch.device('cuda' if torch.cuda.is_available() else 'cpu'),
        help='default: a GPU if there is one',
    )


def add_names(
    parser: argparse.ArgumentParser,
    known: Sequence[str],
    default: Sequence[str] = (),
) -> None:
    """Networks to measure, checked by :func:`check_names`."""
    parser.add_argument(
        'networks',
        nargs='*',
        default=list(default or known),
        help=f'any of {", ".join(known)} (default: '
        f'{", ".join(default) or "all"})',
    )


def check_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Stop at networks that nobody knows."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(
            f'error: unknown networks {unknown}; there are {list(known)}.'
        )


def prepare(args: argparse.Namespace) -> None:
    """Set the number of threads; say what is measured on what."""
    if args.rounds < 1:
        raise SystemExit(f'error: --rounds is {args.rounds}, below 1.')
    if args.clock == 'cpu' and args.device.type == 'cuda':
        raise SystemExit('error: --clock cpu cannot tell the time of a GPU.')
    if args.threads:
        torch.set_num_threads(args.threads)
    name = 'cpu'
    if args.device.type == 'cuda':
        name = torch.cuda.get_device_name(args.device)
    print(
        f'mmdhp {mmdhp.__version__}, torch {torch.__version__}, {name}, '
        f'{torch.get_num_threads()} threads (OMP_NUM_THREADS='
        f'{os.environ.get("OMP_NUM_THREADS", "unset")}), '
        f'{args.rounds} rounds, {args.clock} clock'
    )


def timed(
    calls: Sequence[Callable[[], Any]],
    args: argparse.Namespace,
    warm_up: int = 1,
) -> list[list[float]]:
    """Seconds of calls that take turns, by call and round."""
    clock = CLOCKS[args.clock]
    return interleaved(
        calls, args.device, args.rounds, warm_up=warm_up, clock=clock
    )


def milliseconds(seconds: Sequence[float]) -> str:
    """Median of some times."""
    return f'{1e3 * statistics.median(seconds):.1f}'


def ratios(times: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Ratio in every round."""
    return [a / b for a, b in zip(times, reference)]


def spread(values: Sequence[float]) -> str:
    """Median and quartiles of the rounds."""
    low, middle, high = quartiles(values)
    return f'{middle:.3f} ({low:.3f} to {high:.3f})'


def quartiles(values: Sequence[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return [*values] * 3
    return statistics.quantiles(values, n=4, method='inclusive')


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Least-squares slope of log cost over log size: 1 if it is linear.

    Examples:
        >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
        2.0
    """
    x = [math.log(size) for size in sizes]
    y = [math.log(cost) for cost in costs]
    return statistics.linear_regression(x, y).slope


def peak_memory(
    prepare: Callable[[], Callable[[], Any]], device: torch.device
) -> float:
    """Most memory that a call needs beyond what was there before, in MiB.

    On a CPU it is measured in a forked process, as resident memory. What the
    allocator has kept of freed memory counts as if it were not there.

    Args:
        prepare (Callable): Returns the call; its own memory does not count.
        device (torch.device): On which the call works.

    Raises:
        MeasurementError: If the process fails; says how.
    """
    if device.type == 'cuda':
        return _peak_on_gpu(prepare(), device)

    def work() -> Iterator[dict[str, Any]]:
        torch.set_num_threads(1)  # of a fork, no others can be had
        _give_back_freed()  # before the mark rises, which may be for good
        yield {'peak': _peak_of_process(prepare()), 'status': 'ok'}

    found = isolated(work, _TIMEOUT, _all_memory())
    if found['status'] != 'ok':
        raise MeasurementError(found['problem'])
    return found['peak']


def _peak_on_gpu(call: Callable[[], Any], device: torch.device) -> float:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / _MIB


def _all_memory() -> int:
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def _peak_of_process(call: Callable[[], Any]) -> float:
    """Rise of the resident memory's high-water mark by a call, in MiB.

    Where the mark cannot be set back, this is a lower bound.
    """
    _give_back_freed()
    with contextlib.suppress(OSError):  # not Linux, or not allowed
        (_PROCESS / 'clear_refs').write_text('5')
    before = _high_water()
    call()
    return _high_water() - before


def _give_back_freed() -> None:
    """Let the allocator return what it keeps of freed memory."""
    with contextlib.suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)


def _high_water() -> float:
    """Most memory that was ever resident, in MiB."""
    if (_PROCESS / 'status').exists():
        for line in (_PROCESS / 'status').read_text().splitlines():
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB
