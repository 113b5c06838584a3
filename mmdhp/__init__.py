"""Automatic channel pruning for OpenMMLab models."""
from .graph import ChannelGraph, GraphError, trace
from .surgery import rebuild, shrink, verify
from .version import __version__

__all__ = [
    'ChannelGraph',
    'GraphError',
    '__version__',
    'rebuild',
    'shrink',
    'trace',
    'verify',
]
