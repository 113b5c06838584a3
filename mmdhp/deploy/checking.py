"""Proof that a written file computes what the model computes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .errors import ExportError, first_lines
from .formats import AXES, Run

TINY = 1e-12  # keeps a ratio finite where all outputs are zero


@dataclass(frozen=True)
class Difference:
    """How far a file's outputs are from PyTorch's.

    Attributes:
        absolute (float): Largest difference of two numbers.
        relative (float): The same, divided by the largest number of the
            output that it belongs to; the largest of all outputs.
    """

    absolute: float
    relative: float


def trial_shapes(
    shape: Sequence[int], dynamic: str
) -> list[tuple[int, int, int, int]]:
    """Batches that a file must cope with.

    Where sizes vary: odd ones, larger ones, powers of two and others, so that
    code that fills images up does so, and does not.

    Args:
        shape (Sequence[int]): Of one input, ``(c, h, w)``.
        dynamic (str): What varies; see :data:`AXES`.

    Examples:
        >>> trial_shapes((3, 24, 32), 'batch')
        [(2, 3, 24, 32), (1, 3, 24, 32), (3, 3, 24, 32)]
    """
    channels, height, width = shape
    free = AXES[dynamic].values()
    batches = (2, 1, 3) if 'batch' in free else (2,)
    found = [(n, channels, height, width) for n in batches]
    if 'height' in free:
        found += [
            (1, channels, height + 5, width + 3),
            (3, channels, _power(height), 2 * _power(width)),
        ]
    return found


def _power(size: int) -> int:
    """The least power of two that is not below a size, and at least 16."""
    return max(16, 1 << (size - 1).bit_length())


@torch.no_grad()
def compare(
    run: Run,
    network: nn.Module,
    inputs: Sequence[Tensor],
    name: str,
) -> Difference:
    """Run a file and the model on the same batches.

    Args:
        run (Callable): The file.
        network (nn.Module): What it was made of.
        inputs (Sequence[Tensor]): Batches, each of shape ``(n, c, h, w)``.
        name (str): What messages call the file.

    Returns:
        Difference: The largest of all batches.

    Raises:
        ExportError: If the file does not run, or its outputs have other
            shapes.
    """
    absolute = relative = 0.0
    for batch in inputs:
        expected = network(batch)
        try:
            found = run(batch)
        except Exception as error:  # runtimes raise anything
            raise ExportError(
                f'{name} does not run on inputs of shape '
                f'{list(batch.shape)}, which PyTorch does: '
                f'{first_lines(error)}. Choose another --shape, or let less '
                'vary (--dynamic batch or --dynamic none).'
            ) from error
        _check_shapes(found, expected, batch, name)
        for ours, theirs in zip(expected, found):
            worst = (ours.double() - theirs.double()).abs().max().item()
            largest = ours.double().abs().max().item()
            absolute = max(absolute, worst)
            relative = max(relative, worst / max(largest, TINY))
    return Difference(absolute, relative)


def _check_shapes(
    found: Sequence[Tensor],
    expected: Sequence[Tensor],
    batch: Tensor,
    name: str,
) -> None:
    ours = [list(tensor.shape) for tensor in expected]
    theirs = [list(tensor.shape) for tensor in found]
    if ours != theirs:
        raise ExportError(
            f'{name} returns shapes {theirs} on inputs of shape '
            f'{list(batch.shape)}, but PyTorch {ours}. The exporter took a '
            'size for a constant: let less vary (--dynamic batch or '
            '--dynamic none).'
        )


def check_tolerance(
    found: Difference, tolerance: float, name: str
) -> Difference:
    """Refuse a file that is too far off.

    Raises:
        ExportError: If the relative difference is larger, or not a number.
    """
    if not found.relative <= tolerance:
        raise ExportError(
            f'{name} differs from PyTorch by {found.absolute:.3g}, '
            f'{found.relative:.3g} of the largest output; allowed is '
            f'{tolerance:.3g} (--tolerance). Nothing was written. If the '
            'model is sound (no NaN, no random numbers), please report it.'
        )
    return found
