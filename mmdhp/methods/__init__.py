"""Pruning methods: one paper, one file."""

from .base import Progress, Pruner
from .dhp import DHP
from .limits import Limits
from .oneshot import OneShot
from .selection import Target, select, threshold_mask

__all__ = [
    'DHP',
    'Limits',
    'OneShot',
    'Progress',
    'Pruner',
    'Target',
    'select',
    'threshold_mask',
]
