"""Shadows: which channel each position of a tensor carries.

An *atom* is one position along one axis of one parameter or buffer. A
*strand* is an integer array of atoms, broadcastable to its tensor: size 1 on
every axis it does not vary along, ``NO_ATOM`` where a position carries no
channel. A *shadow* is all strands of one tensor: none for an image, one for a
feature map, one per axis for a weight.
"""
import math
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_leaves

NO_ATOM = -1

Strand = np.ndarray


@dataclass(frozen=True)
class Shadow:
    """What is known about the channels of one tensor.

    Args:
        strands (tuple[ndarray]): Arrays of atoms, each with as many axes as
            the tensor.
        origin (str): Where the tensor's fixed axes come from, in words; used
            as the reason when something prunable meets them.
    """

    strands: Tuple[Strand, ...] = ()
    origin: str = 'a tensor that carries no channels'

    def along(self, axis: int) -> List[Strand]:
        """Strands that vary along ``axis`` (negative counts from the end)."""
        return [s for s in self.strands if s.shape[axis] > 1]


@dataclass(frozen=True)
class Grid:
    """An axis that the model's code split into several.

    Pruning must keep the pieces rectangular: channels may differ along one of
    ``candidates`` only.
    """

    strand: Strand
    candidates: Tuple[int, ...]


@dataclass
class Call:
    """One operator call, as rules see it."""

    name: str
    func: Any
    args: tuple
    kwargs: dict
    out: Any

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """Positional or keyword argument."""
        if index < len(self.args):
            return self.args[index]
        return self.kwargs.get(name, default)

    @property
    def tensors(self) -> List[Tensor]:
        """All tensor arguments, in order."""
        leaves = tree_leaves((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


class AtomTable:
    """Allocates atoms, records which must live together and which may not go.

    Unions are only recorded here; :meth:`labels` resolves them at once.
    """

    def __init__(self) -> None:
        self.size = 0
        self.frozen: Dict[int, Tuple[str, str]] = {}
        self._pairs: List[np.ndarray] = []

    def allocate(self, count: int) -> np.ndarray:
        """Return ``count`` fresh atoms, shape ``(count, )``."""
        atoms = np.arange(self.size, self.size + count)
        self.size += count
        return atoms

    def union(self, first: np.ndarray, second: np.ndarray) -> None:
        """Tie atoms position by position, after broadcasting.

        Positions without an atom tie nothing.
        """
        first, second = np.broadcast_arrays(first, second)
        pairs = np.stack([first.ravel(), second.ravel()])  # (2, n)
        both = (pairs >= 0).all(0) & (pairs[0] != pairs[1])
        if both.any():
            self._pairs.append(np.unique(pairs[:, both], axis=1))

    def freeze(self, atoms: np.ndarray, code: str, reason: str) -> None:
        """Forbid pruning ``atoms``; the first reason given is kept."""
        for atom in np.unique(atoms).tolist():
            if atom >= 0:
                self.frozen.setdefault(atom, (code, reason))

    def labels(self) -> np.ndarray:
        """Component label of every atom: its smallest member, ``(size, )``."""
        label = np.arange(self.size)
        if not self._pairs:
            return label
        first, second = np.concatenate(self._pairs, axis=1)
        while True:
            low = np.minimum(label[first], label[second])
            if np.array_equal(label[first], label[second]):
                return label
            np.minimum.at(label, label[first], low)
            np.minimum.at(label, label[second], low)
            while not np.array_equal(label[label], label):
                label = label[label]


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
) -> Optional[List[Tuple[slice, slice]]]:
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


def split_axis(
    strand: Strand, old: Sequence[int], new: Sequence[int]
) -> Optional[Tuple[int, ...]]:
    """Axes of ``new`` that one varying axis of the strand was split into."""
    for before, after in matching_blocks(old, new) or ():
        wide = [s for s in new[after] if s > 1]
        varies = any(size > 1 for size in strand.shape[before])
        if varies and len(wide) > 1 and after.stop - after.start > 1:
            return tuple(
                axis for axis in range(after.start, after.stop) if new[axis] > 1
            )
    return None


def volume(shape: Sequence[int]) -> int:
    """Number of elements."""
    return math.prod(shape)
