"""Checks of options; each message names option, value and what fits."""

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Optional

INFINITY = float('inf')
SCOPE = '_scope_'


def accepted(kind: Callable) -> list[str]:
    """Names that a class or function takes.

    For a class, those of its bases behind ``**`` are included.

    Examples:
        >>> class Base:
        ...     def __init__(self, target): ...
        >>> class Method(Base):
        ...     def __init__(self, *, decay=0.0, **kwargs): ...
        >>> accepted(Method)
        ['decay', 'target']
    """
    if not isinstance(kind, type):
        return _named(list(inspect.signature(kind).parameters.values()))
    names = []
    for base in kind.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = list(
            inspect.signature(vars(base)['__init__']).parameters.values()
        )
        names += _named(parameters[1:])
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(dict.fromkeys(names))


def _named(parameters: Sequence[inspect.Parameter]) -> list[str]:
    kinds = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    return [p.name for p in parameters if p.kind in kinds]


def unknown_keys(
    subject: str, given: Iterable[Any], known: Collection[str]
) -> str:
    """Complain about keys that are not known; empty if all are.

    The scope that MMEngine notes in configs of its libraries is no key.

    Args:
        subject (str): What takes the keys, for the message.
        given (Iterable): Keys found.
        known (Collection[str]): Keys that exist.

    Returns:
        str: Message that names the nearest known key of each.

    Examples:
        >>> unknown_keys('DHP', ['tau'], ['target', 'threshold'])
        "DHP has no 'tau'. It takes: target, threshold."
    """
    problems = [
        f'{key!r}{nearest(key, known)}'
        for key in given
        if key not in known and key != SCOPE
    ]
    if not problems:
        return ''
    return (
        f'{subject} has no {", ".join(problems)}. It takes: '
        f'{", ".join(sorted(known))}.'
    )


def nearest(word: Any, known: Collection[Any]) -> str:
    """Ask for the known word that looks most like another one, if any does.

    Examples:
        >>> nearest('globl', ('uniform', 'global'))
        " (did you mean 'global'?)"
    """
    words = [other for other in known if isinstance(other, str)]
    near = difflib.get_close_matches(str(word), words, 1)
    return f' (did you mean {near[0]!r}?)' if near else ''


def is_int(value: Any, low: float = -INFINITY) -> bool:
    """Whether something is a whole number, at least ``low``."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and value >= low


def is_number(
    value: Any, low: float = -INFINITY, high: float = INFINITY
) -> bool:
    """Whether something is a finite number from ``low`` to ``high``."""
    number = isinstance(value, float) or is_int(value)
    return number and low <= value <= high and abs(value) < INFINITY


def check_choices(
    given: Mapping[str, Any],
    choices: Mapping[str, Sequence[Any]],
    subject: str = '',
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
        f'{subject}{key} is {value!r}; there are {tuple(choices[key])}.'
        + nearest(value, choices[key])
        for key, value in given.items()
        if value not in choices[key]
    ]
    if problems:
        raise ValueError(' '.join(problems))


def check_number(
    name: str, value: Any, low: float = -INFINITY, high: float = INFINITY
) -> None:
    """Refuse what is no finite number from ``low`` to ``high``.

    Raises:
        ValueError: Naming option and value.
    """
    if not is_number(value, low, high):
        needed = 'a finite number'
        if high < INFINITY:
            needed = f'a number from {low:g} to {high:g}'
        elif low > -INFINITY:
            needed = f'a finite number of at least {low:g}'
        raise ValueError(f'{name} is {value!r}, but {needed} is needed.')


def check_int(name: str, value: Any, low: int) -> None:
    """Refuse what is no whole number of at least ``low``.

    Raises:
        ValueError: Naming option and value.
    """
    if not is_int(value, low):
        raise ValueError(
            f'{name} is {value!r}, but a whole number of at least {low} is '
            'needed.'
        )


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither True nor False.

    Raises:
        TypeError: Naming option and value.
    """
    if not isinstance(value, bool):
        raise TypeError(f'{name} is {value!r}, but True or False is needed.')


def check_bounds(name: str, bounds: Any, inside: float) -> None:
    """Refuse what is no pair of numbers around a first value, from 0 on.

    Raises:
        ValueError: Naming option and value.
    """
    pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    if (
        not pair
        or not is_number(bounds[0], 0, inside)
        or not is_number(bounds[1], inside)
    ):
        raise ValueError(
            f'{name} is {bounds!r}, but a pair (low, high) with 0 <= low <= '
            f'{inside:g} <= high is needed, or None.'
        )


def check_dict(name: str, value: Any, example: str) -> None:
    """Refuse what is no dict.

    Args:
        name (str): Of the option.
        value (Any): Its value.
        example (str): A right value, for the message.

    Raises:
        TypeError: Naming option and value.
    """
    if not isinstance(value, Mapping):
        raise TypeError(
            f'{name} is {value!r}, but a dict is needed, such as {example}.'
        )


def check_shape(name: str, value: Any) -> tuple[int, ...]:
    """Refuse what is no shape of an input.

    Returns:
        tuple[int]: The shape.

    Raises:
        TypeError: If it is no sequence.
        ValueError: If there is a size that is no whole number from 1 on.
    """
    needed = (
        'but the shape of one input without the batch axis is needed, such '
        'as (3, 224, 224).'
    )
    if not isinstance(value, (tuple, list)):
        raise TypeError(f'{name} is {value!r}, {needed}')
    if not value or not all(is_int(size, 1) for size in value):
        raise ValueError(f'{name} is {tuple(value)}, {needed}')
    return tuple(value)


def check_names(
    name: str, value: Any, known: Optional[Sequence[str]] = None
) -> tuple[str, ...]:
    """Refuse what is no list of names.

    Args:
        name (str): Of the option.
        value (Any): Its value.
        known (Sequence[str], optional): All names that exist; then at least
            one is needed.

    Returns:
        tuple[str]: The names.

    Raises:
        TypeError: If it is no sequence of texts.
        ValueError: If a name is unknown, or the last one missing.
    """
    example = "['name']" if known is None else f'{list(known)}'
    if not isinstance(value, (tuple, list)) or not all(
        isinstance(item, str) and item for item in value
    ):
        raise TypeError(
            f'{name} is {value!r}, but a list of names is needed, such as '
            f'{example}.'
        )
    if known is not None:
        wrong = [f'{w!r}{nearest(w, known)}' for w in value if w not in known]
        if wrong or not value:
            raise ValueError(
                f'{name} is {list(value)}, but some of {list(known)} are '
                f'needed{"; unknown: " if wrong else ""}{", ".join(wrong)}.'
            )
    return tuple(value)


def check_name_lists(name: str, value: Any) -> tuple[tuple[str, ...], ...]:
    """Refuse what is no list of lists of names.

    Returns:
        tuple[tuple[str]]: The names.

    Raises:
        TypeError: Naming option and value.
    """
    if not isinstance(value, (tuple, list)) or not all(
        isinstance(part, (tuple, list)) and part for part in value
    ):
        raise TypeError(
            f'{name} is {value!r}, but a list of lists of names is needed, '
            "such as [['first', 'second']]."
        )
    return tuple(
        check_names(f'{name}[{i}]', part) for i, part in enumerate(value)
    )
