"""Strands: arrays of atoms that stand beside tensors.

An *atom* is one position along one axis of one parameter or buffer. A
*strand* is an integer array of atoms, broadcastable to its tensor: size 1 on
every axis it does not vary along, ``NO_ATOM`` where a position carries no
channel.
"""

import math
from collections.abc import Sequence
from typing import Optional

import numpy as np
from torch import Tensor

NO_ATOM = -1

Strand = np.ndarray


def varying(strand: Strand) -> list[int]:
    """Axes along which a strand varies."""
    return [axis for axis, size in enumerate(strand.shape) if size > 1]


def on_axis(atoms: np.ndarray, axis: int, ndim: int) -> Strand:
    """The strand that varies along one axis only, as ``atoms``."""
    shape = [1] * ndim
    shape[axis] = -1
    return atoms.reshape(shape)


def joined(first: Strand, second: Strand) -> Strand:
    """The strand that stands for two tied ones: the smaller, if it can."""
    a, b = set(varying(first)), set(varying(second))
    if a <= b and (first != NO_ATOM).all():
        return first
    if b <= a and (second != NO_ATOM).all():
        return second
    first, second = np.broadcast_arrays(first, second)
    return np.where(first == NO_ATOM, second, first)


def check_fits(strand: Strand, tensor: Tensor, name: str) -> None:
    """Make sure that a strand broadcasts to its tensor."""
    shape = tuple(tensor.shape)
    fits = strand.ndim == len(shape) and all(
        s in (1, size) for s, size in zip(strand.shape, shape)
    )
    if not fits:
        raise ValueError(
            f'{name}: a shadow of shape {strand.shape} for an output of shape '
            f'{shape}'
        )


def compress(strand: Strand) -> Strand:
    """Give size 1 to every axis along which ``strand`` is constant."""
    for axis, size in enumerate(strand.shape):
        if size > 1:
            head = np.take(strand, [0], axis=axis)
            if (strand == head).all():
                strand = head
    return strand


def channel_rows(strand: Strand, axis: int) -> np.ndarray:
    """Arrange as ``(size of axis, all other positions)``."""
    moved = np.moveaxis(strand, axis, 0)
    return moved.reshape(moved.shape[0], -1)


def matching_blocks(
    old: Sequence[int], new: Sequence[int]
) -> Optional[list[tuple[slice, slice]]]:
    """Split two shapes of equal volume into the finest matching axis runs.

    Returns:
        list[tuple[slice, slice]] | None: Pairs of axis ranges with the same
        volume, or None if a zero-sized axis makes it ambiguous.
    """
    if 0 in old or 0 in new:
        return None
    blocks = []
    i = j = 0
    while i < len(old) or j < len(new):
        start_i, start_j = i, j
        left = right = 1
        if i < len(old):
            left, i = old[i], i + 1
        if j < len(new):
            right, j = new[j], j + 1
        while left != right:
            if left < right:
                left, i = left * old[i], i + 1
            else:
                right, j = right * new[j], j + 1
        blocks.append((slice(start_i, i), slice(start_j, j)))
    return blocks


def reshape_strand(
    strand: Strand, old: Sequence[int], new: Sequence[int]
) -> Strand:
    """Act on a strand as ``tensor.reshape(new)`` acts on its tensor.

    Only the axis runs in which the strand varies are expanded, so a feature
    map's constant spatial axes cost nothing.

    Args:
        strand (ndarray): Strand of a tensor of shape ``old``.
        old (Sequence[int]): Shape before.
        new (Sequence[int]): Shape after, of equal volume.
    """
    blocks = matching_blocks(old, new)
    if blocks is None:
        return np.full((1,) * len(new), NO_ATOM)
    expanded, result = list(strand.shape), []
    for before, after in blocks:
        if all(size == 1 for size in strand.shape[before]):
            result += [1] * (after.stop - after.start)
        else:
            expanded[before] = old[before]
            result += new[after]
    return compress(np.broadcast_to(strand, expanded).reshape(result))


def split_axes(
    strand: Strand, old: Sequence[int], new: Sequence[int]
) -> Optional[tuple[int, ...]]:
    """Axes of ``new`` that one varying axis of the strand was split into."""
    for before, after in matching_blocks(old, new) or ():
        wide = [a for a in range(after.start, after.stop) if new[a] > 1]
        varies = any(size > 1 for size in strand.shape[before])
        if varies and len(wide) > 1:
            return tuple(wide)
    return None


def volume(shape: Sequence[int]) -> int:
    """Number of elements."""
    return math.prod(shape)
