"""What a network costs, as a function of its kept units.

MACs = Σ_layers factor · (kept outputs) · (kept inputs per group); exact,
linear in the number of layers and differentiable in soft gates. What else an
operator costs follows from the sizes of the tensors it reads and writes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

KINDS = ('weight', 'norm', 'act')


@dataclass(frozen=True)
class Slot:
    """Stands for a tensor among the arguments of a recorded call.

    Args:
        index (int): Which of the call's inputs.
    """

    index: int


@dataclass(frozen=True, eq=False)
class TensorRecord:
    """A tensor that an operator read or wrote.

    Args:
        shape (tuple[int]): Its shape, batch axis included.
        dtype (torch.dtype): Its type.
        storage (int): Equal numbers for tensors that share memory.
        dynamic (bool): Whether it follows from the model's input.
        strands (tuple[ndarray]): Which channel each position carries: atoms
            while the model is traced, units in a :class:`ChannelGraph`.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    storage: int
    dynamic: bool
    strands: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class CallRecord:
    """One call of an operator.

    Args:
        operator (str): Name and overload, ``'aten.relu.default'``.
        module (str): Dotted name of the module that ran.
        args (tuple): Positional arguments, with a :class:`Slot` for each
            tensor.
        kwargs (dict): Keyword arguments, likewise.
        inputs (tuple[TensorRecord]): Tensors among the arguments, in order.
        outputs (tuple[TensorRecord]): Tensors that were returned.
    """

    operator: str
    module: str
    args: tuple
    kwargs: dict[str, Any]
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]


@dataclass(frozen=True, eq=False)
class Activity:
    """All operator calls of one forward pass.

    Args:
        calls (Sequence[CallRecord]): In their order, strands in units.
        returned (Collection[int]): Storages of the model's outputs.
        batch_size (int): Samples of the pass.
    """

    calls: Sequence[CallRecord] = ()
    returned: Collection[int] = ()
    batch_size: int = 1


class ProductCost:
    """``Σ_t factor_t · Π_a width(t, a)`` over terms of at most ``k`` axes.

    The width of an axis is the sum of its units' gates.

    Args:
        terms (Sequence): Pairs ``(factor, axes)``; each axis is a tuple of
            integers, the unit of every position.
        num_units (int): Length of the gate vector.
    """

    def __init__(
        self,
        terms: Sequence[tuple[float, Sequence[tuple[int, ...]]]],
        num_units: int,
    ) -> None:
        self.num_units = num_units
        axis_of: dict[tuple[int, ...], int] = {}
        most = max((len(axes) for _, axes in terms), default=0)
        index = []
        for _, axes in terms:
            row = [axis_of.setdefault(a, len(axis_of) + 1) for a in axes]
            index.append(row + [0] * (most - len(row)))
        self.factor = torch.tensor(
            [factor for factor, _ in terms], dtype=torch.float64
        )
        self.index = torch.tensor(index, dtype=torch.long).reshape(-1, most)
        units = [u for axis in axis_of for u in axis]
        owners = [n for axis, n in axis_of.items() for _ in axis]
        self.units = torch.tensor(units, dtype=torch.long)
        self.owners = torch.tensor(owners, dtype=torch.long)
        self.num_axes = len(axis_of) + 1

    def terms(self, gates: Tensor) -> Tensor:
        """Cost of every term.

        Args:
            gates (Tensor): Gate of every unit in [0, 1], shape
                ``(num_units, )``, any dtype.

        Returns:
            Tensor: float64, shape ``(number of terms, )``.
        """
        gates = gates.to(torch.float64)
        widths = gates.new_zeros(self.num_axes)
        widths = widths.index_add(0, self.owners, gates[self.units])
        widths = widths + torch.eye(1, self.num_axes, dtype=widths.dtype)[0]
        return self.factor * widths[self.index].prod(1)

    def __call__(self, gates: Tensor) -> Tensor:
        """Total cost, a float64 scalar."""
        return self.terms(gates).sum()
