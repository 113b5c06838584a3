"""Pruning methods: one paper, one file."""

from .base import Progress, Pruner
from .dhp import DHP
from .distribution import Distribution
from .hsn import HSN
from .limits import Limits
from .lwdna import LWDNA
from .oneshot import OneShot
from .selection import Target, select, threshold_mask

__all__ = [
    'DHP',
    'Distribution',
    'HSN',
    'LWDNA',
    'Limits',
    'OneShot',
    'Progress',
    'Pruner',
    'Target',
    'select',
    'threshold_mask',
]
