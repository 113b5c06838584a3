"""Automatic channel pruning for OpenMMLab models.

PyTorch is imported with the first of these names that is used, so that the
command line answers at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import compat
from .version import __version__

if TYPE_CHECKING:
    from .graph import ChannelGraph, GraphError, trace
    from .surgery import rebuild, shrink, verify

_HOMES = {
    'ChannelGraph': 'graph',
    'GraphError': 'graph',
    'trace': 'graph',
    'rebuild': 'surgery',
    'shrink': 'surgery',
    'verify': 'surgery',
}

compat.install()

__all__ = [
    'ChannelGraph',
    'GraphError',
    '__version__',
    'rebuild',
    'shrink',
    'trace',
    'verify',
]


def __getattr__(name: str) -> Any:
    """Import a public name, or the subpackage of one, when it is used."""
    if name in _HOMES.values():
        return importlib.import_module(f'.{name}', __name__)
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    home = importlib.import_module(f'.{_HOMES[name]}', __name__)
    globals()[name] = getattr(home, name)
    return globals()[name]


def __dir__() -> list[str]:
    """All names, whether they have been used or not."""
    return sorted({*globals(), *_HOMES})
