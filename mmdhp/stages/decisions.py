"""What all processes of a run must decide alike, and how they find out."""

import contextlib
import zlib
from typing import Callable, TypeVar, Union

import torch
from mmengine import dist
from mmengine.runner import Runner
from torch import Tensor

from mmdhp.checks.numbers import check_numbers
from mmdhp.methods import Progress

from .runner_facts import unwrapped

Decision = TypeVar('Decision')


def progress(runner: Runner) -> Progress:
    """How far the search is, the same in all processes."""

    def decide() -> Progress:
        check_numbers(runner)
        return runner.optim_wrapper.pruner.progress()

    return decide_together(decide)


def selection(runner: Runner) -> Tensor:
    """The keep mask, shape ``(U, )``, the same in all processes."""

    def decide() -> Tensor:
        check_numbers(runner, unwrapped(runner).state_dict())
        return runner.optim_wrapper.pruner.select()

    return decide_together(decide)


def decide_together(decide: Callable[[], Decision]) -> Decision:
    """Take a decision that must be the same in all processes.

    None waits for another one that cannot decide.

    Args:
        decide (Callable): Returns a bool mask, or something whose text is
            compared.

    Returns:
        Any: What it returns.

    Raises:
        RuntimeError: In a process that has decided, if another one has
            decided differently or failed.
        Exception: In a process that failed, what it failed with.
    """
    try:
        decision = decide()
    except Exception as error:
        with contextlib.suppress(RuntimeError):
            check_ranks_agree(f'{type(error).__name__}: {error}')
        raise
    check_ranks_agree(
        decision if isinstance(decision, Tensor) else f'{decision}'
    )
    return decision


def check_ranks_agree(decision: Union[str, Tensor]) -> None:
    """Compare a decision over all processes.

    Args:
        decision (str | Tensor): Text, or a bool mask of shape ``(U, )``.

    Raises:
        RuntimeError: On every process, if any decided differently.
    """
    if isinstance(decision, Tensor):
        content = decision.to(torch.uint8).cpu().numpy().tobytes()
        shown = f'keeps {int(decision.sum())} units'
    else:
        content, shown = decision.encode(), f'has {decision}'
    own = zlib.crc32(content)
    hashes = torch.tensor([own, -own], dtype=torch.float64)
    dist.all_reduce(hashes, op='max')
    if hashes[0] != -hashes[1]:
        raise RuntimeError(
            f'Processes of the search disagree: rank {dist.get_rank()} '
            f'{shown} (hash {own}), another one decided differently '
            'or failed. The search variables have diverged: check that all '
            'ranks run the same config and that no hook changes gradients on '
            'one rank only.'
        )
