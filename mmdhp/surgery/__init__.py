"""Surgery: shrink, rebuild from a checkpoint, and the proof of both."""

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

__all__ = [
    'mask',
    'rebuild',
    'refresh',
    'resize',
    'resize_on_load',
    'set_attributes',
    'shrink',
    'state_shapes',
    'take',
    'verify',
]
