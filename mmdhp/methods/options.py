"""Checks of the options of a method."""

from collections.abc import Mapping, Sequence
from typing import Any


def check_choices(
    given: Mapping[str, Any], choices: Mapping[str, Sequence[str]]
) -> None:
    """Refuse words that are none of an option's.

    Raises:
        ValueError: Naming option, value and choices; lists all offenders.

    Examples:
        >>> check_choices({'noise': 'gauss'}, {'noise': ('gumbel',)})
        Traceback (most recent call last):
        ValueError: noise is 'gauss'; there are ('gumbel',).
    """
    problems = [
        f'{key} is {value!r}; there are {tuple(choices[key])}.'
        for key, value in given.items()
        if value not in choices[key]
    ]
    if problems:
        raise ValueError(' '.join(problems))


def check_number(name: str, value: Any, low: float) -> None:
    """Refuse what is no finite number of at least ``low``.

    Raises:
        ValueError: Naming option and value.
    """
    number = isinstance(value, (int, float)) and value is not True
    if not number or not low <= value < float('inf') or value == float('-inf'):
        raise ValueError(
            f'{name} is {value!r}, but a finite number of at least {low:g} is '
            'needed.'
        )


def check_bounds(name: str, bounds: Any, inside: float) -> None:
    """Refuse what is no pair of numbers around a first value, from 0 on.

    Raises:
        ValueError: Naming option and value.
    """
    pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    if not pair or not 0 <= bounds[0] <= inside <= bounds[1]:
        raise ValueError(
            f'{name} is {bounds!r}, but a pair (low, high) with 0 <= low <= '
            f'{inside:g} <= high is needed, or None.'
        )
