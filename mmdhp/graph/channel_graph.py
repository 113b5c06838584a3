"""Channel units and groups of a model, their cost, and what is frozen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import (
    Optional,
    Union,
)

import numpy as np
import torch
from torch import Tensor

from .cost import KINDS, Activity, ProductCost
from .tracing.sizes import Attribute


@dataclass(frozen=True)
class Member:
    """One axis of one parameter or buffer that holds units of a group.

    Args:
        module (str): Dotted name of the owning module.
        parameter (str): Attribute name inside it, buffers included.
        axis (int): The axis.
        units (ndarray): Unit of every position along the axis, ``(size, )``.
        start (int): First unit of the group.
        stop (int): One after its last unit.
    """

    module: str
    parameter: str
    axis: int
    units: np.ndarray = field(repr=False, compare=False)
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Dotted name of the parameter, as in the state dict."""
        return f'{self.module}.{self.parameter}'.lstrip('.')

    @cached_property
    def indices(self) -> tuple[tuple[int, ...], ...]:
        """Positions along the axis, one sequence per unit of the group.

        Empty where a unit is not present.
        """
        order = np.argsort(self.units, kind='stable')
        edges = np.arange(self.start, self.stop + 1)
        cuts = np.searchsorted(self.units[order], edges).tolist()
        return tuple(
            tuple(order[first:last].tolist())
            for first, last in zip(cuts, cuts[1:])
        )


@dataclass(frozen=True)
class ChannelGroup:
    """Units born together: the output channels of one or several layers.

    Args:
        name (str): Dotted module name of the first producer.
        size (int): Number of units.
        start (int): Offset in the flat unit vector.
        members (tuple[Member]): Everything that is cut when a unit goes.
    """

    name: str
    size: int
    start: int
    members: tuple[Member, ...]

    @property
    def stop(self) -> int:
        """End offset in the flat unit vector."""
        return self.start + self.size

    def __str__(self) -> str:
        return f'group {self.name!r} ({self.size} units)'


@dataclass(frozen=True)
class FrozenGroup(ChannelGroup):
    """Channels that cannot be pruned.

    Args:
        code (str): Short reason, e.g. ``'output'``.
        reason (str): The reason in words: module and operator.
    """

    code: str = ''
    reason: str = ''


class ChannelGraph:
    """Which channels live together, what they cost, what cannot go.

    Units are ordered group by group: prunable ones first (the flat unit
    vector of length :attr:`num_units`), frozen ones behind.

    Args:
        groups (Sequence[ChannelGroup]): Prunable groups in unit order.
        frozen (Sequence[FrozenGroup]): The rest, offsets continuing.
        axis_units (Mapping): ``(parameter name, axis)`` → unit of every
            position, shape ``(size, )``; frozen units included.
        shapes (Mapping[str, tuple]): Shape of every parameter and buffer.
        trainable (Sequence[str]): Which of them are parameters.
        layers (Sequence): ``(kind, module, factor, row units, column
            units)`` of every call that costs arithmetic.
        unused (Sequence[str]): Parameters that the traced pass never touched.
        attributes (Mapping[Attribute, ndarray]): Module attributes that a cut
            changes: each is the number of positions that stay, and a position
            stays with any of its units, shape ``(positions, others)``.
        safe_norms (Sequence[str]): Modules that mix channels, and which the
            user lets mix fewer of them.
        activity (Callable): Makes what :attr:`activity` holds.
    """

    def __init__(
        self,
        groups: Sequence[ChannelGroup],
        frozen: Sequence[FrozenGroup],
        axis_units: Mapping[tuple[str, int], np.ndarray],
        shapes: Mapping[str, tuple[int, ...]],
        trainable: Sequence[str],
        layers: Sequence[tuple[str, str, float, tuple, tuple]],
        unused: Sequence[str] = (),
        attributes: Optional[Mapping[Attribute, np.ndarray]] = None,
        safe_norms: Sequence[str] = (),
        activity: Callable[[], Activity] = Activity,
    ) -> None:
        self.groups = list(groups)
        self.frozen = list(frozen)
        self.axis_units = dict(axis_units)
        self.shapes = dict(shapes)
        self.trainable = list(trainable)
        self.layers = list(layers)
        self.unused = list(unused)
        self.attributes = dict(attributes or {})
        self.safe_norms = list(safe_norms)
        self._activity = activity

    # ------------------------------------------------------------------ units
    @property
    def num_units(self) -> int:
        """Length of the flat unit vector."""
        return self.groups[-1].stop if self.groups else 0

    @property
    def num_frozen(self) -> int:
        """Number of frozen units, which follow the flat unit vector."""
        return sum(group.size for group in self.frozen)

    @cached_property
    def group_of_unit(self) -> Tensor:
        """Index into :attr:`groups` of every unit, shape ``(U, )``."""
        sizes = torch.tensor([g.size for g in self.groups], dtype=torch.long)
        return torch.repeat_interleave(torch.arange(len(sizes)), sizes)

    def extend(self, gates: Tensor) -> Tensor:
        """Append ones for what always stays.

        Args:
            gates (Tensor): Mask or gates of the prunable units, ``(U, )``.

        Returns:
            Tensor: Shape ``(U + F + 1, )``: prunable units, frozen units, and
            one that stands for positions which are no channel of a layer.
        """
        return torch.cat([gates, gates.new_ones(self.num_frozen + 1)])

    def full(self) -> Tensor:
        """The mask that keeps everything, shape ``(U, )``."""
        return torch.ones(self.num_units, dtype=torch.bool)

    def random_keep(self, ratio: float, seed: int = 0) -> Tensor:
        """A random mask that keeps about ``ratio`` of every group.

        Args:
            ratio (float): Share of units kept, in (0, 1]; every group keeps
                at least one unit.
            seed (int): Seed of the draw. The global random state is unused.

        Returns:
            Tensor: bool, shape ``(U, )``.
        """
        if not 0 < ratio <= 1:
            raise ValueError(
                f'ratio is {ratio}, but a share of kept units in (0, 1] is '
                'needed.'
            )
        generator = torch.Generator().manual_seed(seed)
        keep = torch.zeros(self.num_units, dtype=torch.bool)
        for group in self.groups:
            kept = max(round(group.size * ratio), 1)
            order = torch.randperm(group.size, generator=generator)
            keep[group.start + order[:kept]] = True
        return keep

    def check_keep(self, keep: Tensor) -> Tensor:
        """Validate a mask.

        Raises:
            ValueError: If it has another shape or dtype, or empties a group;
                all emptied groups are named.
        """
        keep = torch.as_tensor(keep).cpu()
        if keep.dtype != torch.bool or keep.shape != (self.num_units,):
            raise ValueError(
                f'keep is {keep.dtype} of shape {tuple(keep.shape)}, but one '
                f'bool for each of the {self.num_units} units is needed.'
            )
        empty = [
            g.name for g in self.groups if not keep[g.start : g.stop].any()
        ]
        if empty:
            raise ValueError(
                f'keep leaves no channel in {", ".join(empty)}; every group '
                'must keep at least one unit.'
            )
        return keep

    # ------------------------------------------------------------------- cost
    def layer_terms(self, kinds: Sequence[str] = ('weight',)) -> list[tuple]:
        """Recorded calls of some kinds, in call order.

        Args:
            kinds (Sequence[str]): Subset of ``'weight'`` (conv and linear),
                ``'norm'`` and ``'act'``.
        """
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown:
            raise ValueError(
                f'unknown kinds {unknown}; MACs can count {list(KINDS)}.'
            )
        return [layer for layer in self.layers if layer[0] in kinds]

    @cached_property
    def activity(self) -> Activity:
        """Every operator call of the traced pass, with tensors in units."""
        return self._activity()

    @cached_property
    def _macs(self) -> dict[tuple[str, ...], ProductCost]:
        return {}

    def macs(
        self,
        keep: Optional[Tensor] = None,
        kinds: Sequence[str] = ('weight',),
    ) -> Union[int, Tensor]:
        """Multiply-accumulates of one sample.

        Args:
            keep (Tensor, optional): bool mask or soft gates in [0, 1], shape
                ``(U, )``. Defaults to everything.
            kinds (Sequence[str]): What counts: ``'weight'`` (conv and linear,
                the default), ``'norm'`` (2 per element, affine norms),
                ``'act'`` (1 per element, once per module).

        Returns:
            int | Tensor: Exact integer for masks; a differentiable float64
            scalar for soft gates.
        """
        key = tuple(kinds)
        if key not in self._macs:
            terms = [
                (factor, [axis for axis in (rows, columns) if axis])
                for _, _, factor, rows, columns in self.layer_terms(kinds)
            ]
            self._macs[key] = ProductCost(terms, self.num_units)
        return self._evaluate(self._macs[key], keep)

    @cached_property
    def _params(self) -> ProductCost:
        terms = []
        for name in self.trainable:
            factor, axes = 1, []
            for axis, size in enumerate(self.shapes[name]):
                units = self.axis_units.get((name, axis))
                if units is None:
                    factor *= size
                else:
                    axes.append(tuple(units.tolist()))
            terms.append((factor, axes))
        return ProductCost(terms, self.num_units)

    def params(self, keep: Optional[Tensor] = None) -> Union[int, Tensor]:
        """Number of parameters, as :meth:`macs`; buffers do not count."""
        return self._evaluate(self._params, keep)

    def _evaluate(
        self, cost: ProductCost, keep: Optional[Tensor]
    ) -> Union[int, Tensor]:
        keep = self.full() if keep is None else keep
        if keep.is_floating_point():
            return cost(self.extend(keep).cpu())
        return round(cost(self.extend(keep.cpu())).item())

    def widths(self, keep: Tensor) -> dict[str, tuple[int, int]]:
        """Kept and total units of every group, by name."""
        keep = self.check_keep(keep)
        return {
            g.name: (int(keep[g.start : g.stop].sum()), g.size)
            for g in self.groups
        }

    def positions(self, keep: Tensor) -> dict[tuple[str, int], Tensor]:
        """Positions that stay, for every axis that holds prunable units.

        Args:
            keep (Tensor): bool mask, shape ``(U, )``.

        Returns:
            dict: ``(parameter name, axis)`` → kept positions, ascending.
        """
        gates = self.extend(self.check_keep(keep)).numpy()
        return {
            key: torch.from_numpy(np.flatnonzero(gates[units]))
            for key, units in self.axis_units.items()
            if (units < self.num_units).any()
        }

    def attribute_values(self, keep: Tensor) -> dict[str, int]:
        """Values that module attributes take with a cut.

        Args:
            keep (Tensor): bool mask, shape ``(U, )``.

        Returns:
            dict: ``'module.attribute'`` or ``'module.attribute[index]'`` →
            value, for attributes by which the model's code asks for sizes.
        """
        gates = self.extend(self.check_keep(keep)).numpy()
        return {
            str(attribute): int(gates[units].any(1).sum())
            for attribute, units in self.attributes.items()
        }

    def __repr__(self) -> str:
        return (
            f'ChannelGraph({len(self.groups)} groups, {self.num_units} units, '
            f'{len(self.frozen)} frozen groups, '
            f'{self.macs() / 1e9:.4f} GMACs, '
            f'{self.params() / 1e6:.4f} M params)'
        )
