"""Automatic channel pruning for OpenMMLab models."""

from . import compat
from .graph import ChannelGraph, GraphError, trace
from .surgery import rebuild, shrink, verify
from .version import __version__

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
