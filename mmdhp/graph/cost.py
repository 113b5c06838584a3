"""Closed-form cost of a network as a function of its kept units.

MACs = Σ_layers factor · (kept outputs) · (kept inputs per group); exact,
linear in the number of layers and differentiable in soft gates.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

KINDS = ('weight', 'norm', 'act')


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
