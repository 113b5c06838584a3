"""Messages for misspelt config keys that name the right one."""

import difflib
import inspect
from collections.abc import Collection, Iterable


def accepted(kind: type) -> list[str]:
    """Names that a class takes, those of its bases behind ``**`` included.

    Examples:
        >>> class Base:
        ...     def __init__(self, target): ...
        >>> class Method(Base):
        ...     def __init__(self, *, decay=0.0, **kwargs): ...
        >>> accepted(Method)
        ['decay', 'target']
    """
    names = []
    for base in kind.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = list(
            inspect.signature(vars(base)['__init__']).parameters.values()
        )
        names += [
            p.name
            for p in parameters[1:]
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(dict.fromkeys(names))


def unknown_keys(
    subject: str, given: Iterable[str], known: Collection[str]
) -> str:
    """Complain about keys that are not known; empty if all are.

    Args:
        subject (str): What takes the keys, for the message.
        given (Iterable[str]): Keys found.
        known (Collection[str]): Keys that exist.

    Returns:
        str: Message that names the nearest known key of each.

    Examples:
        >>> unknown_keys('DHP', ['tau'], ['target', 'threshold'])
        "DHP has no 'tau'. It takes: target, threshold."
    """
    problems = []
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f' (did you mean {near[0]!r}?)' if near else ''
            problems.append(f'{key!r}{hint}')
    if not problems:
        return ''
    return (
        f'{subject} has no {", ".join(problems)}. It takes: '
        f'{", ".join(sorted(known))}.'
    )
