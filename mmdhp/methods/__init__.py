"""Pruning methods: one paper, one file."""

from .base import Progress, Pruner
from .dhp import DHP
from .distribution import Distribution
from .goal import QUANTITIES, TITLES, Goal, Target
from .hsn import HSN
from .limits import Limits
from .lwdna import LWDNA
from .oneshot import OneShot
from .selection import select, threshold_mask

__all__ = [
    'DHP',
    'Distribution',
    'HSN',
    'LWDNA',
    'Goal',
    'Limits',
    'OneShot',
    'Progress',
    'QUANTITIES',
    'TITLES',
    'Pruner',
    'Target',
    'select',
    'threshold_mask',
]
