"""How narrow every group may become."""

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Union

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from mmdhp.graph import ChannelGraph

from .options import is_int, is_number

_ROUNDING = 1e-6  # 0.29 of 100 channels is 29, though 0.29 * 100 is less


@dataclass(frozen=True)
class Limits:
    """Options that keep groups from becoming too narrow.

    A pattern stands for the groups of that name, and for those that hold
    outputs of a conv or linear layer of that name or inside such a module.

    Args:
        min_channels (int | float): Channels that every group keeps, as a
            number or as a fraction of the group. Defaults to 4.
        floors (Mapping[str, int | float]): Name pattern → what replaces
            ``min_channels``; later patterns win. Defaults to {}.
        max_ratio (float | Mapping[str, float]): Largest fraction of a group
            that may go, in (0, 1], or name pattern → fraction; later patterns
            win. Whatever keeps more counts. Defaults to 1.0.

    Raises:
        ValueError: If values are out of range; lists all of them.
    """

    min_channels: Union[int, float] = 4
    floors: Mapping[str, Union[int, float]] = field(default_factory=dict)
    max_ratio: Union[float, Mapping[str, float]] = 1.0

    def __post_init__(self) -> None:
        self._check_values()

    def resolve(self, model: nn.Module, graph: ChannelGraph) -> Tensor:
        """Units that every group keeps at least, shape ``(groups, )``.

        Args:
            model (nn.Module): The traced model, for the names of its layers.
            graph (ChannelGraph): Its graph.

        Raises:
            KeyError: If patterns match no prunable group; lists all of them,
                with the nearest names, or why those channels stay.
        """
        names = names_of_groups(model, graph)
        self._check_patterns(graph, names)
        floors = [
            max(self._floors(own, group.size).values())
            for group, own in zip(graph.groups, names)
        ]
        return torch.tensor(floors, dtype=torch.long)

    def deciding(self, model: nn.Module, graph: ChannelGraph) -> list[str]:
        """The options behind floors of more than one unit, with values."""
        found = set()
        for group, own in zip(graph.groups, names_of_groups(model, graph)):
            floors = self._floors(own, group.size)
            highest = max(2, *floors.values())
            found |= {key for key, floor in floors.items() if floor == highest}
        return [f'{key}={getattr(self, key)}' for key in sorted(found)]

    def _by_pattern(self, option: str) -> Mapping[str, Any]:
        value = getattr(self, option)
        return value if isinstance(value, Mapping) else {'*': value}

    def _floors(self, names: Sequence[str], size: int) -> dict[str, int]:
        """Floors of one group, by the option that asks for them."""
        option, value = (
            'floors',
            _last_match(self._by_pattern('floors'), names),
        )
        if value is None:
            option, value = 'min_channels', self.min_channels
        ratio = _last_match(self._by_pattern('max_ratio'), names) or 1.0
        spared = size - int(size * ratio + _ROUNDING)
        return {option: _channels(value, size), 'max_ratio': spared}

    def _check_values(self) -> None:
        problems = []
        if not is_floor(self.min_channels):
            problems.append(f'min_channels is {self.min_channels!r}')
        if isinstance(self.floors, Mapping):
            problems += _misfits('floors', self.floors, is_floor)
        else:
            problems.append(f'floors is {self.floors!r}')
        if isinstance(self.max_ratio, Mapping):
            problems += _misfits('max_ratio', self.max_ratio, _is_ratio)
        elif not _is_ratio(self.max_ratio):
            problems.append(f'max_ratio is {self.max_ratio!r}')
        if problems:
            raise ValueError(
                f'{"; ".join(problems)}. A floor is a number of channels (an '
                'int of at least 1) or a fraction of a group (a float in '
                '(0, 1)): min_channels is one, floors a dict of them by name '
                'pattern. max_ratio is a number in (0, 1], or such a dict.'
            )

    def _check_patterns(
        self, graph: ChannelGraph, names: Sequence[Sequence[str]]
    ) -> None:
        prunable = names[: len(graph.groups)]
        problems = [
            f'{option}: {pattern!r} matches no prunable group; '
            f'{_why_unmatched(pattern, graph, names)}.'
            for option in ('floors', 'max_ratio')
            for pattern in self._by_pattern(option)
            if not any(_matches(pattern, own) for own in prunable)
        ]
        if problems:
            raise KeyError(' '.join(problems))


def names_of_groups(model: nn.Module, graph: ChannelGraph) -> list[list[str]]:
    """Names of every group, frozen ones behind: its own, then its layers'.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.
    """
    groups = [*graph.groups, *graph.frozen]
    sizes = torch.tensor([group.size for group in groups])
    owner = torch.repeat_interleave(torch.arange(len(groups)), sizes)
    names = [[group.name] for group in groups]
    for name, module in model.named_modules():
        if not isinstance(module, (_ConvNd, nn.Linear)):
            continue
        axis = int(getattr(module, 'transposed', False))
        key = (f'{name}.weight', axis)
        units = torch.as_tensor(graph.axis_units.get(key, ()))
        for index in owner[units[units < len(owner)].long()].unique().tolist():
            names[index].append(name)
    return names


def _matches(pattern: str, names: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(name, pattern)
        or fnmatch.fnmatchcase(name, f'{pattern}.*')
        for name in names
    )


def _why_unmatched(
    pattern: str, graph: ChannelGraph, names: Sequence[Sequence[str]]
) -> str:
    """Reasons of the frozen groups that a pattern means, or nearest names."""
    reasons = [
        f'{group.name} keeps its width: {group.reason}'
        for group, own in zip(graph.frozen, names[len(graph.groups) :])
        if _matches(pattern, own)
    ]
    known = [group.name for group in graph.groups]
    near = difflib.get_close_matches(pattern, known, 3, 0.0)
    return '; '.join(reasons[:3]) or f'the nearest names are {near}'


def _last_match(by_pattern: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Value of the last pattern that matches; None if none does."""
    found = [
        value
        for pattern, value in by_pattern.items()
        if _matches(pattern, names)
    ]
    return found[-1] if found else None


def _channels(value: Union[int, float], size: int) -> int:
    """A floor in channels of a group."""
    if isinstance(value, float):
        return max(int(size * value + _ROUNDING), 1)
    return min(value, size)


def is_floor(value: Any) -> bool:
    """Whether something is a number of channels or a fraction of a group."""
    return is_int(value, 1) or (isinstance(value, float) and 0 < value < 1)


def _is_ratio(value: Any) -> bool:
    return is_number(value) and 0 < value <= 1


def _misfits(
    option: str, by_pattern: Mapping[str, Any], fits: Callable[[Any], bool]
) -> list[str]:
    """Entries that are no pattern or whose value does not fit."""
    return [
        f'{option}[{pattern!r}] is {value!r}'
        for pattern, value in by_pattern.items()
        if not isinstance(pattern, str) or not fits(value)
    ]
