"""Surgery: shrink, widen, rebuild from a checkpoint, and their proof."""

from .forwards import plain_forwards
from .initialisation import Initialiser, seed_of
from .rebuild import rebuild
from .resizing import (
    refresh,
    resize,
    resize_on_load,
    set_attributes,
    state_shapes,
)
from .shrink import shrink, take
from .verify import mask, verify
from .widen import (
    Baseline,
    baseline_of,
    check_widened,
    remember,
    widen,
    widened_widths,
)

__all__ = [
    'Baseline',
    'Initialiser',
    'baseline_of',
    'check_widened',
    'mask',
    'plain_forwards',
    'rebuild',
    'refresh',
    'remember',
    'resize',
    'resize_on_load',
    'seed_of',
    'set_attributes',
    'shrink',
    'state_shapes',
    'take',
    'verify',
    'widen',
    'widened_widths',
]
