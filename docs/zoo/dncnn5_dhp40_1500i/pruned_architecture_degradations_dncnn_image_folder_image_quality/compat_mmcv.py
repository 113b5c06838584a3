"""What lets ``mmcv.ops`` be imported where mmcv has no compiled operators.

mmcv's wheels may come without the compiled module ``mmcv._ext``; those of its
continuation do. Then ``mmcv.ops`` cannot be imported, and MMDetection neither.
:func:`install` appends a finder that is asked when no other has found that
module. Its stand-in computes what torchvision can (``mmcv_operators.py``);
every other operator raises an error when it is called.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Optional

EXTENSION = 'mmcv._ext'


def _operator(name: str) -> Callable[..., Any]:
    """An operator of the stand-in, by its name in ``mmcv._ext``."""
    if name.startswith('__'):  # what Python asks of any module
        raise AttributeError(f'module {EXTENSION!r} has no {name!r}')
    from . import mmcv_operators  # with PyTorch, so not before it is needed

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise mmcv_operators.missing(name)

    return getattr(mmcv_operators, name, refuse)


class _StandInFinder(MetaPathFinder, Loader):
    """Finds ``mmcv._ext`` where no other finder does, and loads it."""

    def find_spec(
        self,
        fullname: str,
        path: Optional[Sequence[str]] = None,
        target: Optional[ModuleType] = None,
    ) -> Optional[ModuleSpec]:
        if fullname != EXTENSION:
            return None
        return ModuleSpec(fullname, self, origin='torchvision')

    def exec_module(self, module: ModuleType) -> None:
        vars(module)['__getattr__'] = _operator


def _is_ours(finder: object) -> bool:
    """By name: an exported model carries a copy of this file."""
    return type(finder).__name__ == _StandInFinder.__name__


def install() -> None:
    """Make a later ``import mmcv.ops`` work, whoever does the import.

    Cheap: nothing is imported here. Calling it again changes nothing.
    """
    if not any(map(_is_ours, sys.meta_path)):
        sys.meta_path.append(_StandInFinder())
