"""Shadows: which channel each position of a tensor carries.

A *shadow* is all strands (:mod:`mmdhp.graph.tracing.strands`) of one tensor:
none for an image, one for a feature map, one per axis for a weight.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .strands import Strand


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
