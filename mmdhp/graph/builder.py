"""From what a tracer saw to a channel graph: units, groups, reasons."""

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Optional

import numpy as np
from torch import nn

from .channel_graph import ChannelGraph, ChannelGroup, FrozenGroup, Member
from .errors import GraphError
from .resolution import Resolution, producers, resolve
from .tracing.atoms import Reason
from .tracing.call_book import activity_of
from .tracing.execution import Forward, Inputs, execute
from .tracing.shadow import LayerRecord
from .tracing.strands import NO_ATOM
from .tracing.tracer import Tracer


def trace(
    model: nn.Module,
    inputs: Inputs,
    *,
    forward: Optional[Forward] = None,
    exclude: Sequence[str] = (),
    groups: Sequence[Sequence[str]] = (),
    safe_norms: Sequence[str] = (),
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
        exclude (Sequence[str]): Name patterns (``'head'``, ``'layer?.0'``) of
            modules whose output channels stay, with all modules inside.
        groups (Sequence[Sequence[str]]): Lists of name patterns of modules
            whose output channels belong together, unit by unit.

        safe_norms (Sequence[str]): Name patterns of modules that may mix
            fewer channels than before, such as layer norms: their statistics
            change with the cut, which fine-tuning must make up for.

    Returns:
        ChannelGraph: Groups, frozen groups with reasons, and cost.

    Raises:
        GraphError: If the model cannot run on ``inputs``, or modules of one
            of ``groups`` have different numbers of units.
        KeyError: If a pattern matches no module.

    Examples:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3))
        >>> graph = trace(net, torch.zeros(2, 3, 9, 7))
        >>> [(group.name, group.size) for group in graph.groups]
        [('0', 8)]
        >>> graph.macs(graph.random_keep(0.5)) / graph.macs()
        0.5
    """
    tracer = execute(model, inputs, forward)
    _freeze_excluded(tracer, exclude)
    safe = tracer.atoms.trust(_modules(tracer.model, safe_norms, 'safe_norms'))
    resolution = resolve(tracer)
    if groups:
        _tie_declared(tracer, resolution.labels, groups)
        resolution = resolve(tracer)
    return _build(tracer, resolution, safe)


Channels = tuple[str, np.ndarray]


def _fits(name: str, pattern: str) -> bool:
    """Whether a name, or that of a module around it, fits a pattern."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(
        name, f'{pattern}.*'
    )


def _check_pattern(names: Sequence[str], pattern: str, option: str) -> None:
    if not fnmatch.filter(names, pattern):
        near = difflib.get_close_matches(pattern, names, 3, 0.0)
        raise KeyError(
            f'{option}: {pattern!r} matches no module; the nearest names are '
            f'{near}.'
        )


def _modules(
    model: nn.Module, patterns: Sequence[str], option: str
) -> list[str]:
    """Names of the modules that fit any of the patterns."""
    names = [name for name, _ in model.named_modules()]
    for pattern in patterns:
        _check_pattern(names, pattern, option)
    return [n for n in names if any(_fits(n, pattern) for pattern in patterns)]


def _matching(
    model: nn.Module, channels: Sequence[Channels], pattern: str, option: str
) -> list[Channels]:
    """Channels whose name, or that of a module around them, fits."""
    names = [name for name, _ in (*model.named_modules(), *channels)]
    _check_pattern(list(dict.fromkeys(names)), pattern, option)
    return [pair for pair in channels if _fits(pair[0], pattern)]


def _freeze_excluded(tracer: Tracer, exclude: Sequence[str]) -> None:
    for pattern in exclude:
        for name, rows in _matching(
            tracer.model, tracer.producers, pattern, 'exclude'
        ):
            reason = f'{name} matches {pattern!r} of `exclude`'
            tracer.atoms.freeze(rows, 'excluded', reason)


def _tie_declared(
    tracer: Tracer, labels: np.ndarray, groups: Sequence[Sequence[str]]
) -> None:
    """Union the units of what the user declares to be one group."""
    inputs = [
        (f'{layer.module}:input', layer.columns)
        for layer in tracer.layers
        if layer.kind == 'weight'
    ]
    axes = [
        (f'{entry.name}:{axis}', atoms)
        for entry in tracer.parameters.values()
        for axis, atoms in enumerate(entry.axes)
    ]
    for patterns in groups:
        found = []
        for pattern in patterns:
            kinds = [*inputs, *axes] if ':' in pattern else tracer.producers
            found += _matching(tracer.model, kinds, pattern, 'groups')
        units = [
            (name, _unique(labels[atoms[atoms != NO_ATOM]]))
            for name, atoms in found
        ]
        if len({len(own) for _, own in units}) > 1:
            sizes = ', '.join(f'{name}: {len(own)}' for name, own in units)
            raise GraphError(
                f'groups: {list(patterns)} have different numbers of units '
                f'({sizes}), so they cannot be one group.'
            )
        for _, own in units:
            tracer.atoms.union(own, units[0][1])
            tracer.atoms.declare(own)


def _unique(values: np.ndarray) -> np.ndarray:
    """Distinct values in order of appearance."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)]


# ---------------------------------------------------------------------- births
@dataclass
class _Birth:
    """Components born together, on their way to become a group."""

    number: int
    reason: Optional[Reason] = None
    labels: list[int] = field(default_factory=list)
    producers: list[str] = field(default_factory=list)


def _births(tracer: Tracer, resolution: Resolution) -> list[_Birth]:
    """Prunable births, then frozen ones, one per reason."""
    labels = resolution.labels
    reasons = [
        None,
        ('no-producer', 'no traced layer produces these channels'),
    ]
    reason_of = np.zeros(len(labels), int)  # of a component
    for label, reason in resolution.reasons.items():
        reason_of[label] = len(reasons)
        reasons.append(reason)
    births: dict[tuple[int, Optional[Reason]], _Birth] = {}
    found: list[_Birth] = []
    number_of = np.full(len(labels), -1)  # birth of a component
    for name, atoms, owned in producers(tracer):
        own = labels[atoms[atoms != NO_ATOM]]
        new = _unique(own[number_of[own] < 0])
        numbers = reason_of[new] if owned else np.maximum(reason_of[new], 1)
        keys = zip(resolution.births[new].tolist(), numbers.tolist())
        for label, (kind, number) in zip(new.tolist(), keys):
            key = (kind, reasons[number])
            if key not in births:
                births[key] = _Birth(len(found), reasons[number])
                found.append(births[key])
            births[key].labels.append(label)
            number_of[label] = births[key].number
        for number in np.unique(number_of[own]).tolist():
            names = found[number].producers
            if name not in names and (owned or not names):
                names.append(name)
    for birth in found:
        if birth.reason is None and len(birth.labels) == 1:
            birth.reason = ('tied', 'all these channels are tied together')
    return sorted(found, key=lambda birth: birth.reason is not None)


# ----------------------------------------------------------------------- graph
def _build(
    tracer: Tracer, resolution: Resolution, safe: Sequence[str]
) -> ChannelGraph:
    births = _births(tracer, resolution)
    ordered = [label for birth in births for label in birth.labels]
    unit_of = np.full(tracer.atoms.size, len(ordered))  # of a component
    unit_of[ordered] = np.arange(len(ordered))
    unit_of = unit_of[resolution.labels]  # of an atom
    entries = list(tracer.parameters.values())
    axis_units, members, shapes = {}, {}, {}
    for entry in entries:
        names = (entry.name, *entry.aliases)
        shapes.update(dict.fromkeys(names, tuple(entry.tensor.shape)))
        for axis, atoms in enumerate(entry.axes):
            units = unit_of[atoms]
            if (units < len(ordered)).any():
                members[entry.name, axis] = units
                axis_units.update({(name, axis): units for name in names})
    groups, frozen = _groups(births, members)
    return ChannelGraph(
        groups,
        frozen,
        axis_units,
        shapes,
        [entry.name for entry in entries if entry.trainable],
        [
            _layer_units(layer, unit_of, len(ordered))
            for layer in tracer.layers
        ],
        tracer.unused,
        {
            attribute: np.where(rows == NO_ATOM, len(ordered), unit_of[rows])
            for attribute, rows in resolution.attributes.items()
        },
        safe,
        partial(
            activity_of,
            tracer.book.calls,
            tracer.book.returned,
            tracer.batch_size,
            unit_of,
            len(ordered),
        ),
    )


def _layer_units(
    layer: LayerRecord, unit_of: np.ndarray, constant: int
) -> tuple:
    rows, columns = (
        tuple(np.where(atoms == NO_ATOM, constant, unit_of[atoms]).tolist())
        for atoms in (layer.rows, layer.columns)
    )
    return (layer.kind, layer.module, layer.factor, rows, columns)


def _groups(
    births: Sequence[_Birth],
    members: Mapping[tuple[str, int], np.ndarray],
) -> tuple[list[ChannelGroup], list[FrozenGroup]]:
    sizes = [len(birth.labels) for birth in births]
    stops = np.cumsum(sizes, dtype=int).tolist()
    held: list[list[Member]] = [[] for _ in births]
    owner_of_unit = np.repeat(np.arange(len(births)), sizes)
    for key, units in members.items():
        known = units[units < len(owner_of_unit)]
        for owner in np.unique(owner_of_unit[known]).tolist():
            start, stop = stops[owner] - sizes[owner], stops[owner]
            module, _, parameter = key[0].rpartition('.')
            member = Member(module, parameter, key[1], units, start, stop)
            held[owner].append(member)
    groups: list[ChannelGroup] = []
    frozen: list[FrozenGroup] = []
    for birth, size, stop, own in zip(births, sizes, stops, held):
        place = (size, stop - size, tuple(own))
        if birth.reason is None:
            name = _free_name(birth, {group.name for group in groups})
            groups.append(ChannelGroup(name, *place))
        else:
            name = birth.producers[0]
            frozen.append(FrozenGroup(name, *place, *birth.reason))
    return groups, frozen


def _free_name(birth: _Birth, taken: set[str]) -> str:
    """Its first producer that gives no other group its name."""
    first = birth.producers[0]
    numbered = (f'{first}:{number}' for number in range(2, len(taken) + 3))
    candidates = (*birth.producers, *numbered)
    return next(name for name in candidates if name not in taken)
