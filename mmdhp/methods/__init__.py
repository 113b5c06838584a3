"""Pruning methods: one paper, one file."""

from .base import Progress, Pruner
from .dhp import DHP
from .limits import Limits
from .selection import Target, select, threshold_mask

__all__ = [
    'DHP',
    'Limits',
    'Progress',
    'Pruner',
    'Target',
    'select',
    'threshold_mask',
]
