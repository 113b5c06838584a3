"""Examine each architecture in a process of its own."""

import contextlib
import faulthandler
import multiprocessing
import os
import resource
import signal
import site
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, Callable, Optional

Facts = Iterator[dict[str, Any]]

_POLL = 0.2  # seconds between two looks at a running process


def isolated(
    work: Callable[[], Facts],
    timeout: float,
    max_memory: float,
    tick: Optional[Callable[[], None]] = None,
) -> dict[str, Any]:
    """Collect the facts that ``work`` yields, whatever becomes of it.

    It runs in a forked process, so that a crash costs one row and memory is
    returned. Facts found before a failure are kept.

    Args:
        work (Callable): Returns an iterator of facts.
        timeout (float): Seconds after which it is killed.
        max_memory (float): Bytes that it may allocate.
        tick (Callable, optional): Called a few times per second.

    Returns:
        dict: All facts; ``'status'`` and ``'problem'`` tell of a failure.
    """
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(work, sender, max_memory))
    start = time.monotonic()
    process.start()
    sender.close()
    found: dict[str, Any] = {}
    try:
        _collect(receiver, found, start + timeout, tick)
    except EOFError:  # it ended
        pass
    except TimeoutError:
        found.update(failure(f'no end after {timeout:g} s', found))
        process.kill()
    except BaseException:  # such as an interrupt by the user
        process.kill()
        raise
    finally:
        process.join()
        receiver.close()
    if 'status' not in found:
        found.update(failure(_death(process.exitcode), found))
    return found


def _collect(
    receiver: Connection,
    found: dict[str, Any],
    deadline: float,
    tick: Optional[Callable[[], None]],
) -> None:
    """Update ``found`` until the other end closes or time is over."""
    while time.monotonic() < deadline:
        if tick is not None:
            tick()
        if receiver.poll(_POLL):
            found.update(receiver.recv())
    raise TimeoutError


def failure(problem: str, found: dict[str, Any]) -> dict[str, Any]:
    """Facts about a run that came to no end."""
    stage = found.get('stage', 'start')
    return dict(status='failed', problem=f'{stage}: {problem}')


def _report(
    work: Callable[[], Facts], sender: Connection, max_memory: float
) -> None:
    """Send facts until there are no more; the last may be an error."""
    faulthandler.disable()
    with open(os.devnull, 'w') as nowhere:  # libraries like to print
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    limit = int(max_memory)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    _volunteer()
    stage: dict[str, Any] = {}
    try:
        for facts in work():
            stage.update(facts)
            sender.send(facts)
    except BaseException as error:  # nothing a network does ends the run
        sender.send(failure(brief(error, 600), stage))
    sender.close()


def _volunteer() -> None:
    """Let this process go first where memory runs out (Linux)."""
    with contextlib.suppress(OSError):
        with open('/proc/self/oom_score_adj', 'w') as file:
            file.write('1000')


def _death(code: Optional[int]) -> str:
    if code is None or code >= 0:
        return f'the process ended with {code}'
    name = signal.Signals(-code).name
    hint = ' (out of memory?)' if name == 'SIGKILL' else ''
    return f'the process died of {name}{hint}'


def brief(error: BaseException, length: int = 160) -> str:
    """Type and first words of an error, on one line, without our paths."""
    words = ' '.join(str(error).split())
    for folder in (*site.getsitepackages(), sys.prefix, os.getcwd()):
        words = words.replace(folder + os.sep, '')
    text = f'{type(error).__name__}: {words}'
    return text if len(text) <= length else f'{text[: length - 3]}...'
