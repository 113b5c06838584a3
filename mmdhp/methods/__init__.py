"""Pruning methods: one paper, one file."""

from .base import Progress, Pruner
from .dhp import DHP
from .limits import Limits
from .lwdna import LWDNA
from .oneshot import OneShot
from .selection import Target, select, threshold_mask

__all__ = [
    'DHP',
    'LWDNA',
    'Limits',
    'OneShot',
    'Progress',
    'Pruner',
    'Target',
    'select',
    'threshold_mask',
]
