"""Channel units and groups of a model, their cost, and what is frozen."""
import difflib
import fnmatch
from dataclasses import dataclass
from functools import cached_property
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np
import torch
from torch import Tensor, nn

from .cost import KINDS, ProductCost
from .errors import GraphError
from .shadow import NO_ATOM, AtomTable, Grid
from .tracer import Inputs, LayerRecord, ParameterAtoms, Tracer, execute


@dataclass(frozen=True)
class Member:
    """One axis of one parameter or buffer that holds units of a group.

    Args:
        module (str): Dotted name of the owning module.
        parameter (str): Attribute name inside it, buffers included.
        axis (int): The axis.
        indices (tuple[tuple[int]]): Positions along the axis, one sequence
            per unit of the group; empty where a unit is not present.
    """

    module: str
    parameter: str
    axis: int
    indices: Tuple[Tuple[int, ...], ...]

    @property
    def name(self) -> str:
        """Dotted name of the parameter, as in the state dict."""
        return f'{self.module}.{self.parameter}'.lstrip('.')


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
    members: Tuple[Member, ...]

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
    """

    def __init__(
        self,
        groups: Sequence[ChannelGroup],
        frozen: Sequence[FrozenGroup],
        axis_units: Mapping[Tuple[str, int], np.ndarray],
        shapes: Mapping[str, Tuple[int, ...]],
        trainable: Sequence[str],
        layers: Sequence[Tuple[str, str, float, tuple, tuple]],
        unused: Sequence[str] = (),
    ) -> None:
        self.groups = list(groups)
        self.frozen = list(frozen)
        self.axis_units = dict(axis_units)
        self.shapes = dict(shapes)
        self.trainable = list(trainable)
        self.layers = list(layers)
        self.unused = list(unused)

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
        empty = [g.name for g in self.groups if not keep[g.start : g.stop].any()]
        if empty:
            raise ValueError(
                f'keep leaves no channel in {", ".join(empty)}; every group '
                'must keep at least one unit.'
            )
        return keep

    # ------------------------------------------------------------------- cost
    def layer_terms(self, kinds: Sequence[str] = ('weight',)) -> List[tuple]:
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
    def _macs(self) -> Dict[Tuple[str, ...], ProductCost]:
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

    def widths(self, keep: Tensor) -> Dict[str, Tuple[int, int]]:
        """Kept and total units of every group, by name."""
        keep = self.check_keep(keep)
        return {
            g.name: (int(keep[g.start : g.stop].sum()), g.size)
            for g in self.groups
        }

    def positions(self, keep: Tensor) -> Dict[Tuple[str, int], Tensor]:
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

    def __repr__(self) -> str:
        return (
            f'ChannelGraph({len(self.groups)} groups, {self.num_units} units, '
            f'{len(self.frozen)} frozen groups, {self.macs() / 1e9:.4f} GMACs, '
            f'{self.params() / 1e6:.4f} M params)'
        )


def trace(
    model: nn.Module,
    inputs: Inputs,
    *,
    forward: Optional[Callable[[nn.Module, Any], Any]] = None,
    exclude: Sequence[str] = (),
    tie: Sequence[Sequence[str]] = (),
) -> ChannelGraph:
    """Find the channel units and groups of any module.

    The model runs once, in evaluation mode, on fake tensors; it is as before
    afterwards.

    Args:
        model (nn.Module): Any module.
        inputs (Tensor | tuple | dict): Sample inputs with a batch axis of at
            least 2; positional if a tuple, keyword if a dict.
        forward (Callable, optional): Called as ``forward(model, inputs)``
            where ``model(inputs)`` is not the right call.
        exclude (Sequence[str]): Name patterns (``'head.*'``) of modules whose
            output channels stay.
        tie (Sequence[Sequence[str]]): Lists of name patterns of modules whose
            output channels belong together, unit by unit.

    Returns:
        ChannelGraph: Groups, frozen groups with reasons, and cost.

    Raises:
        GraphError: If the model cannot run on ``inputs``, or modules to tie
            have different numbers of units.
        KeyError: If a pattern matches no module.

    Examples:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3))
        >>> graph = trace(net, torch.zeros(2, 3, 9, 7))
        >>> [(group.name, group.size) for group in graph.groups]
        [('0', 8)]
        >>> graph.macs(graph.random_keep(0.5)) / graph.macs()
        0.5
    """
    tracer = execute(model, inputs, forward)
    _freeze_excluded(tracer, exclude)
    labels = _resolve(tracer.atoms, tracer.grids)
    if tie:
        _tie_declared(tracer, labels, tie)
        labels = _resolve(tracer.atoms, tracer.grids)
    return _build(tracer, labels)


def _matching_producers(
    tracer: Tracer, pattern: str, option: str
) -> List[Tuple[str, np.ndarray]]:
    """Producers whose module name matches a pattern of an option."""
    names = [name for name, _ in tracer.model.named_modules()]
    if not fnmatch.filter(names, pattern):
        near = difflib.get_close_matches(pattern, names, 3, 0.0)
        raise KeyError(
            f'{option}: {pattern!r} matches no module; the nearest names are '
            f'{near}.'
        )
    return [
        (name, rows)
        for name, rows in tracer.producers
        if fnmatch.fnmatchcase(name, pattern)
    ]


def _freeze_excluded(tracer: Tracer, exclude: Sequence[str]) -> None:
    for pattern in exclude:
        for name, rows in _matching_producers(tracer, pattern, 'exclude'):
            reason = f'{name} matches {pattern!r} of `exclude`'
            tracer.atoms.freeze(rows, 'excluded', reason)


def _tie_declared(
    tracer: Tracer, labels: np.ndarray, tie: Sequence[Sequence[str]]
) -> None:
    """Union the units of modules that the user declares to be one group."""
    for patterns in tie:
        producers = [
            producer
            for pattern in patterns
            for producer in _matching_producers(tracer, pattern, 'tie')
        ]
        units = [(name, _unique(labels[rows])) for name, rows in producers]
        if len({len(own) for _, own in units}) > 1:
            sizes = ', '.join(f'{name}: {len(own)}' for name, own in units)
            raise GraphError(
                f'tie: {list(patterns)} have different numbers of units '
                f'({sizes}), so they cannot be one group.'
            )
        for _, own in units[1:]:
            tracer.atoms.union(own, units[0][1])


def _unique(values: np.ndarray) -> np.ndarray:
    """Distinct values in order of appearance."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)]


def _resolve(atoms: AtomTable, grids: Sequence[Grid]) -> np.ndarray:
    """Label components; keep every split axis rectangular.

    Where the model's code splits a channel axis into several, channels may
    be removed along one of them only. If what is tied already allows one, it
    is taken, else the last: the size that code leaves open (``-1``).
    """
    while True:
        labels = atoms.labels()
        for grid in grids:
            known = np.where(
                grid.strand == NO_ATOM, NO_ATOM, labels[grid.strand]
            )
            if any(_constant_beside(known, a) for a in grid.candidates):
                continue
            axis = grid.candidates[-1]
            rows = np.moveaxis(grid.strand, axis, 0)
            rows = rows.reshape(rows.shape[0], -1)
            atoms.union(rows, rows.max(1, keepdims=True))
            if (rows == NO_ATOM).any():
                reason = 'shares a reshaped axis with fixed channels'
                atoms.freeze(rows, 'fixed-width', reason)
        if np.array_equal(atoms.labels(), labels):
            return labels


def _constant_beside(known: np.ndarray, axis: int) -> bool:
    """Whether ``known`` varies along ``axis`` only."""
    rows = np.moveaxis(known, axis, 0).reshape(known.shape[axis], -1)
    return bool((rows == rows[:, :1]).all())


@dataclass
class _Component:
    """A set of atoms that live together, on its way to become a unit."""

    label: int
    producer: str
    frozen: Optional[Tuple[str, str]]


def _build(tracer: Tracer, labels: np.ndarray) -> ChannelGraph:
    components = _components(tracer, labels)
    births = _births(tracer, labels, components)
    prunable = [[c for c in birth if c.frozen is None] for birth in births]
    fixed = [[c for c in birth if c.frozen is not None] for birth in births]
    unit_of = np.full(tracer.atoms.size + 1, -1)
    ordered = [c for birth in prunable + fixed for c in birth]
    for unit, component in enumerate(ordered):
        unit_of[component.label] = unit
    unit_of_atom = unit_of[labels]

    axis_units, members = {}, {}
    for entry in tracer.parameters.values():
        for axis, atoms in enumerate(entry.axes):
            units = unit_of_atom[atoms]
            if not (units >= 0).any():
                continue
            units = np.where(units < 0, len(ordered), units)
            for name in (entry.name, *entry.aliases):
                axis_units[name, axis] = units
            members[entry.name, axis] = units
    groups, frozen = _groups(prunable, fixed, members)
    return ChannelGraph(
        groups,
        frozen,
        axis_units,
        {
            name: tuple(e.tensor.shape)
            for e in tracer.parameters.values()
            for name in (e.name, *e.aliases)
        },
        [e.name for e in tracer.parameters.values() if e.trainable],
        [
            _layer_units(layer, unit_of_atom, len(ordered))
            for layer in tracer.layers
        ],
        tracer.unused,
    )


def _layer_units(
    layer: LayerRecord, unit_of_atom: np.ndarray, constant: int
) -> tuple:
    axes = []
    for atoms in (layer.rows, layer.columns):
        units = np.where(atoms == NO_ATOM, -1, unit_of_atom[atoms])
        axes.append(tuple(np.where(units < 0, constant, units).tolist()))
    return (layer.kind, layer.module, layer.factor, axes[0], axes[1])


def _components(tracer: Tracer, labels: np.ndarray) -> Dict[int, _Component]:
    """Components with a channel axis, in the order of their producers."""
    frozen: Dict[int, Tuple[str, str]] = {}
    for atom, reason in tracer.atoms.frozen.items():
        frozen.setdefault(int(labels[atom]), reason)
    components: Dict[int, _Component] = {}
    for name, atoms in tracer.producers:
        for label in labels[atoms[atoms != NO_ATOM]].tolist():
            components.setdefault(
                label, _Component(label, name, frozen.get(label))
            )
    unowned = ('no-producer', 'no traced layer produces these channels')
    for name, atoms in _weight_axes(tracer):
        for label in labels[atoms[atoms != NO_ATOM]].tolist():
            if label not in components:
                reason = frozen.get(label, unowned)
                components[label] = _Component(label, f'{name}:input', reason)
    return components


def _weight_axes(tracer: Tracer) -> List[Tuple[str, np.ndarray]]:
    """Both axes of every conv and linear weight."""
    return [
        (layer.module, atoms)
        for layer in tracer.layers
        if layer.kind == 'weight'
        for atoms in (layer.columns, layer.rows)
    ]


def _births(
    tracer: Tracer, labels: np.ndarray, components: Dict[int, _Component]
) -> List[List[_Component]]:
    """Components born together, one list per group."""
    table = AtomTable()
    table.allocate(tracer.atoms.size)
    produced = np.zeros(tracer.atoms.size, bool)
    for _, atoms in tracer.producers:
        own = labels[atoms[atoms != NO_ATOM]]
        produced[own] = True
        if len(own):
            table.union(own, own[:1])
    for _, atoms in _weight_axes(tracer):
        own = labels[atoms[atoms != NO_ATOM]]
        own = own[~produced[own]]
        if len(own):
            table.union(own, own[:1])
    birth_of = table.labels()
    births: Dict[int, List[_Component]] = {}
    for label, component in components.items():
        births.setdefault(int(birth_of[label]), []).append(component)
    return list(births.values())


def _groups(
    prunable: List[List[_Component]],
    fixed: List[List[_Component]],
    members: Mapping[Tuple[str, int], np.ndarray],
) -> Tuple[List[ChannelGroup], List[FrozenGroup]]:
    groups: List[ChannelGroup] = []
    frozen: List[FrozenGroup] = []
    owner_of_unit = np.repeat(
        np.arange(len(prunable) + len(fixed)),
        [len(birth) for birth in prunable + fixed],
    )
    by_owner: Dict[int, List[Tuple[str, int]]] = {}
    for key, units in members.items():
        known = units[units < len(owner_of_unit)]
        for owner in np.unique(owner_of_unit[known]).tolist():
            by_owner.setdefault(owner, []).append(key)
    start = 0
    for owner, birth in enumerate(prunable + fixed):
        if not birth:
            continue
        stop = start + len(birth)
        found = tuple(
            _member(key, members[key], start, stop)
            for key in by_owner.get(owner, [])
        )
        name = birth[0].producer
        if owner < len(prunable):
            groups.append(ChannelGroup(name, len(birth), start, found))
        else:
            code, reason = birth[0].frozen or ('', '')
            frozen.append(
                FrozenGroup(name, len(birth), start, found, code, reason)
            )
        start = stop
    return groups, frozen


def _member(
    key: Tuple[str, int], units: np.ndarray, start: int, stop: int
) -> Member:
    positions: List[List[int]] = [[] for _ in range(stop - start)]
    for position, unit in enumerate(units.tolist()):
        if start <= unit < stop:
            positions[unit - start].append(position)
    module, _, parameter = key[0].rpartition('.')
    return Member(module, parameter, key[1], tuple(map(tuple, positions)))
