"""From what a tracer noted to units: components, pieces, sizes.

Atoms that must live together form components. Where the model's code splits
an axis, the pieces must stay rectangular; where it asks for a size, that size
must follow the cut, by itself or by changing a module attribute. What cannot
follow is frozen.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .tracing.atoms import AtomTable, Reason
from .tracing.shadow import Grid
from .tracing.sizes import Attribute, Extent, Requirement, evaluate, leaves
from .tracing.strands import NO_ATOM, channel_rows
from .tracing.tracer import Tracer

_TRIALS = 4  # random cuts on which sizes are compared
_KEEP = 0.6  # share of components that a trial keeps


@dataclass(frozen=True)
class Resolution:
    """Components and what follows them.

    Args:
        labels (ndarray): Component of every atom.
        reasons (Mapping): First reason of every frozen component.
        births (ndarray): Equal numbers for components that the same layers
            produce, by component; 0 for those that no layer touches.
        attributes (Mapping): Attributes whose value is the number of kept
            positions, with the atoms of each, ``(size, others)``.
    """

    labels: np.ndarray
    reasons: Mapping[int, Reason]
    births: np.ndarray
    attributes: Mapping[Attribute, np.ndarray]


def resolve(tracer: Tracer) -> Resolution:
    """Find the components; freeze what cannot follow a cut."""
    in_space = tracer.pixels.labels()
    labels = tracer.atoms.labels()
    grids = [_OpenGrid(grid, in_space, labels) for grid in tracer.grids]
    while True:
        labels = _rectangular(tracer.atoms, grids)
        reasons = tracer.atoms.reasons(labels)
        births = _birth_labels(tracer, labels, reasons)
        sizes = _Sizes(tracer, labels, reasons, births)
        if not sizes.settle():
            break
    return Resolution(labels, reasons, births, sizes.attributes())


def _rectangular(atoms: AtomTable, grids: Sequence['_OpenGrid']) -> np.ndarray:
    """Tie what lies beside each other in a grid, until nothing changes."""
    while True:
        labels = atoms.labels()
        for grid in grids:
            grid.tie(atoms, labels)
        if np.array_equal(atoms.labels(), labels):
            break
    for grid in grids:
        if len(np.unique(_look_up(labels, grid.rows))) == 1:
            atoms.freeze(grid.rows, 'split', grid.reason)
    return labels


class _OpenGrid:
    """A grid and its open axis.

    Args:
        grid (Grid): The grid.
        in_space (ndarray): Labels of what later lies side by side in space:
            sub-pixels, whose number the code must fix.
        labels (ndarray): Components before any grid has tied something.
    """

    def __init__(
        self, grid: Grid, in_space: np.ndarray, labels: np.ndarray
    ) -> None:
        candidates = list(grid.open_axes)
        if not grid.spelled:
            known = _look_up(in_space, grid.strand)
            laid = [a for a in grid.axes if _constant_beside(known, a)]
            candidates = laid[:1] or candidates
        known = _look_up(labels, grid.strand)
        useful = [a for a in candidates if _components_along(known, a) > 1]
        axis = (useful or candidates)[0]
        self.rows = channel_rows(grid.strand, axis)
        self.reason = (
            f'{grid.where} splits them into a fixed number of pieces, which '
            'all need all of them'
        )

    def tie(self, atoms: AtomTable, labels: np.ndarray) -> None:
        """Tie what lies beside each other, unless it is tied already."""
        known = _look_up(labels, self.rows)
        if (known == known[:, :1]).all():
            return
        atoms.union(self.rows, self.rows.max(1, keepdims=True))
        if (self.rows == NO_ATOM).any():
            reason = 'shares a reshaped axis with fixed channels'
            atoms.freeze(self.rows, 'fixed-width', reason)


def _look_up(labels: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    return np.where(atoms == NO_ATOM, NO_ATOM, labels[atoms])


def _constant_beside(known: np.ndarray, axis: int) -> bool:
    """Whether ``known`` varies along ``axis`` only."""
    rows = channel_rows(known, axis)
    return bool((rows == rows[:, :1]).all())


def _components_along(known: np.ndarray, axis: int) -> int:
    """How many units are left if all but one axis is tied."""
    rows = channel_rows(known, axis)
    values, places = np.unique(rows, return_inverse=True)
    places = places.reshape(rows.shape)
    names = np.arange(len(rows))
    while True:
        lowest = np.full(len(values), len(rows))
        np.minimum.at(lowest, places, names[:, None])
        renamed = lowest[places].min(1)
        if np.array_equal(renamed, names):
            return len(np.unique(names))
        names = renamed


# ----------------------------------------------------------------------- sizes
class _Sizes:
    """Tries random cuts and compares sizes with what the code asks for."""

    def __init__(
        self,
        tracer: Tracer,
        labels: np.ndarray,
        reasons: Mapping[int, Reason],
        births: np.ndarray,
    ) -> None:
        self.atoms = tracer.atoms
        self.requirements = tracer.sizes.requirements
        self.originals = tracer.sizes.originals
        components, self.component = np.unique(labels, return_inverse=True)
        self.kept = _trials(components, reasons, births)
        self.counts = {r: self._count(r.rows) for r in self.requirements}

    def _count(self, rows: np.ndarray) -> np.ndarray:
        """Positions that stay in every trial, shape ``(trials, )``."""
        stays = self.kept[:, self.component[rows]] | (rows == NO_ATOM)
        return stays.any(2).sum(1)

    @cached_property
    def direct(self) -> dict[Attribute, list[Requirement]]:
        """Requirements that an attribute alone answers."""
        found: dict[Attribute, list[Requirement]] = {}
        for requirement in self.requirements:
            if isinstance(requirement.expression, Attribute):
                found.setdefault(requirement.expression, []).append(
                    requirement
                )
        return found

    @cached_property
    def values(self) -> dict[Any, np.ndarray]:
        """Value of every leaf in every trial, attributes changed."""
        values: dict[Any, np.ndarray] = {
            attribute: np.asarray(value)
            for attribute, value in self.originals.items()
        }
        for attribute, requirements in self.direct.items():
            values[attribute] = self.counts[requirements[0]]
        for requirement in self.requirements:
            for leaf in leaves(requirement.expression):
                if isinstance(leaf, Extent):
                    values[leaf] = self._count(leaf.rows)
        return values

    def settle(self) -> bool:
        """Tie or freeze what does not follow; whether that was needed."""
        wrong = [
            requirement
            for requirement in self.requirements
            if not np.array_equal(
                np.broadcast_to(
                    evaluate(requirement.expression, self.values),
                    _TRIALS,
                ),
                self.counts[requirement],
            )
        ]
        return any([self._mend(requirement) for requirement in wrong])

    def _mend(self, requirement: Requirement) -> bool:
        """Tie what one attribute tells twice; freeze anything else."""
        expression, rows = requirement.expression, requirement.rows
        if isinstance(expression, Attribute):
            first = self.direct[expression][0].rows
            before = self.atoms.labels()
            self.atoms.union(rows.max(1), first.max(1))
            if not np.array_equal(before, self.atoms.labels()):
                return True
        reason = (
            f'{requirement.where} asks for {expression}, which would not '
            'follow a cut'
        )
        for own in (rows, *self._rows_of(expression)):
            count = self._count(own)
            if (count != len(own)).any():
                self.atoms.freeze(own, 'literal', reason)
                return True
        return False

    def _rows_of(self, expression: Any) -> Iterator[np.ndarray]:
        """Rows on which an expression depends: extents, then attributes."""
        own = list(leaves(expression))
        yield from (leaf.rows for leaf in own if isinstance(leaf, Extent))
        for leaf in own:
            if isinstance(leaf, Attribute):
                yield from (r.rows for r in self.direct.get(leaf, ()))

    def attributes(self) -> dict[Attribute, np.ndarray]:
        """Attributes that some cut changes, with what they count."""
        return {
            attribute: requirements[0].rows
            for attribute, requirements in self.direct.items()
            if (self.values[attribute] != self.originals[attribute]).any()
        }


def _trials(
    components: np.ndarray,
    reasons: Mapping[int, Reason],
    births: np.ndarray,
) -> np.ndarray:
    """Random cuts of components, frozen ones whole.

    Every birth keeps a component, as every group will.

    Args:
        components (ndarray): Labels, ``(components, )``.
        reasons (Mapping): Reason of every frozen label.
        births (ndarray): As in :class:`Resolution`.

    Returns:
        ndarray: Whether a component stays, ``(trials, components)``.
    """
    generator = np.random.default_rng(0)
    draws = generator.random((_TRIALS, len(components)))
    own = births[components]
    best = np.ones((_TRIALS, births.max(initial=0) + 1))
    for draw, lowest in zip(draws, best):
        np.minimum.at(lowest, own, draw)
    kept = (draws < _KEEP) | (draws == best[:, own])
    kept[:, own == 0] = True
    kept[:, np.isin(components, list(reasons))] = True
    return kept


# ---------------------------------------------------------------------- births
def producers(tracer: Tracer) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Name, atoms and ownership, in the order in which channels appear.

    Both axes of a conv or linear weight follow what was produced: channels
    that no layer makes belong to the first that reads them.
    """
    for name, atoms in tracer.producers:
        yield name, atoms, True
    for layer in tracer.layers:
        if layer.kind == 'weight':
            for atoms in (layer.columns, layer.rows):
                yield f'{layer.module}:input', atoms, False


def _birth_labels(
    tracer: Tracer, labels: np.ndarray, reasons: Mapping[int, Reason]
) -> np.ndarray:
    """Equal numbers for components that the same layers produce and read.

    So every layer's outputs and inputs are whole births, and no mask that
    keeps one unit of each can empty a layer.
    """
    births = np.zeros(tracer.atoms.size, int)
    newest = 0
    produced = np.zeros(tracer.atoms.size, bool)
    for _, atoms, owned in producers(tracer):
        own = labels[atoms[atoms != NO_ATOM]]
        if not owned:
            own = own[~produced[own]]
        if not own.size:
            continue
        own = np.unique(own)
        produced[own] |= owned
        newest = _refine(births, own, newest)
    moving = births > 0
    moving[list(reasons)] = False
    for layer in tracer.layers:  # one may read a part of what another makes
        if layer.kind == 'weight':
            own = labels[layer.columns[layer.columns != NO_ATOM]]
            newest = _refine(births, np.unique(own[moving[own]]), newest)
    return births


def _refine(births: np.ndarray, components: np.ndarray, newest: int) -> int:
    """Tell some components from the others of their births, in place.

    Args:
        births (ndarray): Birth of every component.
        components (ndarray): Those to tell apart, ``(n, )``.
        newest (int): Largest birth so far: births are never searched, so that
            the whole is linear in the number of layers.

    Returns:
        int: Largest birth now.
    """
    old, part = np.unique(births[components], return_inverse=True)
    births[components] = newest + 1 + part
    return newest + len(old)
