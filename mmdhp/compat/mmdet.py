"""What lets MMDetection 3.x be imported on a current stack.

Beside the operators of mmcv (``mmcv.py``) two things are in its way:

1. ``mmdet`` before its continuation asserts an mmcv older than 2.2;
2. ``mmdet.datasets`` of the continuation imports its transforms for lanes,
   which need imgaug; its last release (2020) fails beside NumPy 2.

:func:`install` steps in for these two modules only, while they are imported.
Without imgaug everything works but ``ImageAug``, which says what it needs.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader
from types import ModuleType
from typing import Any, Callable

from .import_hook import exec_under_accepted_mmcv, install_executors

IMGAUG = (
    'imgaug',
    'imgaug.augmenters',
    'imgaug.augmentables',
    'imgaug.augmentables.lines',
    'imgaug.augmentables.segmaps',
)


def _member(name: str) -> Callable[..., Any]:
    """A member of the stand-in for imgaug, refused when it is called."""
    if name.startswith('__'):  # what Python asks of any module
        raise AttributeError(name)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ImportError(
            f'imgaug.{name}: this transform of MMDetection needs imgaug, '
            'which cannot be imported here. Install it (`pip install imgaug '
            '"numpy<2"`), or use another transform.'
        )

    return refuse


@contextmanager
def _imgaug_stand_in() -> Iterator[None]:
    """Let imgaug be imported for a while, empty."""
    saved = {name: sys.modules.pop(name, None) for name in IMGAUG}
    for name in IMGAUG:
        stand_in = ModuleType(name)
        vars(stand_in).update(__path__=[], __getattr__=_member)
        sys.modules[name] = stand_in
        parent, _, child = name.rpartition('.')
        if parent:
            setattr(sys.modules[parent], child, stand_in)
    try:
        yield
    finally:
        for name, module in saved.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _exec_lane_transforms(loader: Loader, module: ModuleType) -> None:
    """Execute the module that imports imgaug, if need be without it."""
    try:
        loader.exec_module(module)
    except (ImportError, AttributeError):
        with _imgaug_stand_in():
            loader.exec_module(module)


EXECUTORS = {
    'mmdet': exec_under_accepted_mmcv,
    'mmdet.datasets.transforms.generate_line': _exec_lane_transforms,
}


def install() -> None:
    """Make a later ``import mmdet`` work, whoever does the import.

    Cheap: nothing is imported here. Calling it again changes nothing.
    """
    install_executors(EXECUTORS)
