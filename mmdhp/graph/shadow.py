"""Shadows: which channel each position of a tensor carries.

An *atom* is one position along one axis of one parameter or buffer. A
*strand* is an integer array of atoms, broadcastable to its tensor: size 1 on
every axis it does not vary along, ``NO_ATOM`` where a position carries no
channel. A *shadow* is all strands of one tensor: none for an image, one for a
feature map, one per axis for a weight.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Optional

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_leaves

NO_ATOM = -1

Strand = np.ndarray
Reason = tuple[str, str]

# Codes that say "not understood", which a declaration of the user overrules.
CAUTIOUS = ('unknown-operator', 'bypass', 'no-producer')

_COMPACT = 4096  # pairs of one union above which duplicates are dropped


@dataclass(frozen=True)
class Shadow:
    """What is known about the channels of one tensor.

    Args:
        strands (tuple[ndarray]): Arrays of atoms, each with as many axes as
            the tensor.
        origin (str): Where the tensor's fixed axes come from, in words; used
            as the reason when something prunable meets them.
        dynamic (bool): Whether its values follow from the model's input
            rather than from parameters and constants alone.
        blank (bool): Whether, as far as was seen, nobody wrote into it since
            it was allocated.
        code (str): Reason code of channels that meet its fixed axes.
        asked (tuple): Its sizes as the model's code asked for them, if it is
            a constant or broadcast; empty if unknown.
    """

    strands: tuple[Strand, ...] = ()
    origin: str = 'a tensor that carries no channels'
    dynamic: bool = False
    blank: bool = False
    code: str = 'fixed-width'
    asked: tuple = ()

    def along(self, axis: int) -> list[Strand]:
        """Strands that vary along ``axis`` (negative counts from the end)."""
        return [s for s in self.strands if s.shape[axis] > 1]


@dataclass(frozen=True)
class ParameterAtoms:
    """One parameter or buffer and the atoms of its axes.

    Args:
        name (str): Dotted name, as in the state dict.
        aliases (tuple[str]): Further names of the same tensor.
        tensor (Tensor): The parameter or buffer itself.
        axes (tuple[ndarray]): Atoms of each axis, shape ``(size, )`` each.
        trainable (bool): Whether it is a parameter rather than a buffer.
    """

    name: str
    aliases: tuple[str, ...]
    tensor: Tensor
    axes: tuple[np.ndarray, ...]
    trainable: bool


@dataclass(frozen=True)
class LayerRecord:
    """One call that costs arithmetic.

    Args:
        kind (str): ``'weight'`` (conv, linear), ``'norm'`` or ``'act'``.
        module (str): Dotted module name.
        rows (ndarray): Atoms of the output axis, shape ``(n, )``.
        columns (ndarray): Atoms of the weight's input axis, ``(c, )``; empty
            for norms and activations.
        factor (float): Multiplications per (row, column) pair and sample.
    """

    kind: str
    module: str
    rows: np.ndarray
    columns: np.ndarray
    factor: float


@dataclass(frozen=True)
class Spelling:
    """The Python call that led to an operator, such as ``x.chunk(2)``.

    Args:
        name (str): Name of the function or method; ``''`` if unknown.
        args (tuple): Its positional arguments.
        kwargs (dict): Its keyword arguments.
    """

    name: str = ''
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)

    def sizes(self, count: int) -> Optional[Sequence[Any]]:
        """The sizes in ``x.view(a, b)`` or ``x.view((a, b))``.

        Returns:
            Sequence | None: None unless there are ``count`` of them.
        """
        sizes: Sequence[Any] = self.args[1:]
        if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
            sizes = sizes[0]
        return sizes if len(sizes) == count else None


@dataclass
class Call:
    """One operator call, as rules see it."""

    name: str
    func: Any
    args: tuple
    kwargs: dict
    out: Any
    spelling: Spelling = Spelling()

    def argument(self, name: str, default: Any = None) -> Any:
        """Argument by its name in the operator's schema."""
        index = _argument_indices(self.func).get(name, len(self.args))
        if index < len(self.args):
            return self.args[index]
        return self.kwargs.get(name, default)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """All tensor arguments, in order."""
        return _tensors((self.args, self.kwargs))

    @cached_property
    def outputs(self) -> list[Tensor]:
        """All tensors the call returned."""
        return _tensors(self.out)


@cache
def _argument_indices(func: Any) -> dict[str, int]:
    return {a.name: i for i, a in enumerate(func._schema.arguments)}


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


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


@dataclass(frozen=True)
class Grid:
    """An axis that the model's code split into several.

    Pruning must keep the pieces rectangular: channels may be removed along
    one of the axes only, and only along one that the code leaves open.

    Args:
        strand (ndarray): Atoms after the split.
        axes (tuple[int]): Axes of ``strand`` that came from one.
        open_axes (tuple[int]): Those whose size the code does not fix, the
            likeliest first; the first that leaves several units is taken.
        where (str): Module and operator, for messages.
        spelled (bool): Whether the code says so (``-1``, ``chunk``). If not,
            pieces that end up in space (sub-pixels) may leave another open.
    """

    strand: Strand
    axes: tuple[int, ...]
    open_axes: tuple[int, ...]
    where: str
    spelled: bool = False


class AtomTable:
    """Allocates atoms, records which must live together and which may not go.

    Unions are only recorded here; :meth:`labels` resolves them at once.
    """

    def __init__(self) -> None:
        self.size = 0
        self._frozen: list[tuple[np.ndarray, Reason, str]] = []
        self._declared: list[np.ndarray] = []
        self._safe: set[str] = set()
        self._pairs: list[np.ndarray] = []

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
        differ = (first != second) & (first >= 0) & (second >= 0)
        if not differ.any():
            return
        pairs = np.stack([first[differ], second[differ]])  # (2, n)
        if pairs.shape[1] > _COMPACT:
            keys = np.unique(pairs[0] * self.size + pairs[1])
            pairs = np.stack([keys // self.size, keys % self.size])
        self._pairs.append(pairs)

    def freeze(
        self, atoms: np.ndarray, code: str, reason: str, module: str = ''
    ) -> None:
        """Forbid pruning ``atoms``; the first reason given is kept."""
        atoms = atoms[atoms >= 0]
        if atoms.size:
            self._frozen.append((atoms, (code, reason), module))

    def trust(self, modules: Sequence[str]) -> list[str]:
        """The user accepts that these modules mix fewer channels.

        Returns:
            list[str]: Those of them that mix channels.
        """
        mixing = {m for _, (code, _), m in self._frozen if code == 'mixed'}
        self._safe.update(modules)
        return sorted(mixing.intersection(modules))

    def declare(self, atoms: np.ndarray) -> None:
        """The user vouches for what an unknown operator does to ``atoms``."""
        self._declared.append(atoms)

    def reasons(self, labels: np.ndarray) -> dict[int, Reason]:
        """First reason of every frozen component, by its label."""
        first = np.full(self.size, -1)
        declared = np.zeros(self.size, bool)
        for atoms in self._declared:
            declared[labels[atoms]] = True
        for number in range(len(self._frozen) - 1, -1, -1):
            atoms, (code, _), module = self._frozen[number]
            if code == 'mixed' and module in self._safe:
                continue
            own = labels[atoms]
            if code in CAUTIOUS:
                own = own[~declared[own]]
            first[own] = number
        frozen = np.flatnonzero(first >= 0)
        return {
            label: self._frozen[first[label]][1] for label in frozen.tolist()
        }

    def labels(self) -> np.ndarray:
        """Component label of every atom: its smallest member, ``(size, )``."""
        label = np.arange(self.size)
        if not self._pairs:
            return label
        self._pairs = [np.concatenate(self._pairs, axis=1)]
        first, second = self._pairs[0]
        while True:
            low = np.minimum(label[first], label[second])
            if np.array_equal(label[first], label[second]):
                return label
            np.minimum.at(label, label[first], low)
            np.minimum.at(label, label[second], low)
            while not np.array_equal(label[label], label):
                label = label[label]
