"""How latency is measured."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Optional


@dataclass(frozen=True)
class LatencyOptions:
    """How latency is measured.

    Args:
        input_shape (Sequence[int], optional): Shape of one input without the
            batch axis. Defaults to None, that of the pruner.
        batch_size (int): Inputs per forward pass. Defaults to 1.
        num_threads (int, optional): Threads that compute. Defaults to None,
            as many as the process has.
        rounds (int): Samples of each measurement, of which the median counts.
            Defaults to 9.
        time_limit (float): Seconds for the whole table, which is measured
            once per machine. Defaults to 600.
        cache (str, optional): Folder for what was measured. Defaults to None,
            ``$MMDHP_CACHE`` or ``~/.cache/mmdhp``.
    """

    input_shape: Optional[tuple[int, ...]] = None
    batch_size: int = 1
    num_threads: Optional[int] = None
    rounds: int = 9
    time_limit: float = 600.0
    cache: Optional[str] = None

    @classmethod
    def parse(cls, options: Any) -> 'LatencyOptions':
        """Read a config, ``dict(batch_size=8)`` or None for the defaults.

        Raises:
            TypeError: If it is no dict, or has unknown keys.
            ValueError: If values are out of range; lists all of them.
        """
        if isinstance(options, cls):
            return options
        options = {} if options is None else options
        if not isinstance(options, Mapping):
            raise TypeError(
                f'latency is {options!r}, but a dict of options such as '
                'dict(batch_size=1) is needed.'
            )
        known = [field.name for field in fields(cls)]
        for key in options:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1, 0.0)
                raise TypeError(
                    f'latency has no option {key!r}; did you mean {near[0]!r}?'
                )
        _check(options)
        found = dict(options)
        if found.get('input_shape') is not None:
            found['input_shape'] = tuple(found['input_shape'])
        return cls(**found)


def _check(options: Mapping[str, Any]) -> None:
    """Refuse values out of range, all at once."""
    whole = {'batch_size', 'rounds'}
    if options.get('num_threads') is not None:
        whole.add('num_threads')
    problems = [
        f'{key} is {options[key]!r}, but an int of at least 1 is needed'
        for key in sorted(whole & set(options))
        if not _is_count(options[key])
    ]
    limit = options.get('time_limit', 1.0)
    number = isinstance(limit, (int, float)) and limit is not True
    if not number or not limit > 0:
        problems.append(
            f'time_limit is {limit!r}, but seconds above 0 are needed'
        )
    shape = options.get('input_shape')
    if shape is not None and not (
        isinstance(shape, (list, tuple))
        and shape
        and all(map(_is_count, shape))
    ):
        problems.append(
            f'input_shape is {shape!r}, but sizes such as (3, 224, 224) are '
            'needed'
        )
    cache = options.get('cache')
    if cache is not None and not isinstance(cache, str):
        problems.append(f'cache is {cache!r}, but a folder is needed')
    if problems:
        raise ValueError(f'latency: {"; ".join(problems)}.')


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value is not True and value >= 1
