"""Pruning methods: one paper, one file."""

from .base import Progress, Pruner
from .dhp import DHP
from .selection import Target, group_floors, select, threshold_mask

__all__ = [
    'DHP',
    'Progress',
    'Pruner',
    'Target',
    'group_floors',
    'select',
    'threshold_mask',
]
