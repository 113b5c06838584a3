"""What lets a config inherit from one that mmdhp ships.

MMEngine looks up ``_base_ = 'LIBRARY::PATH'`` for the libraries of OpenMMLab
only, by a table. :func:`install` adds mmdhp to it.
"""

import sys
from importlib.abc import Loader
from types import ModuleType

from .import_hook import install_executors

MODULE = 'mmengine.config.utils'
PACKAGE = 'mmdhp'


def _add(module: ModuleType) -> None:
    getattr(module, 'MODULE2PACKAGE', {}).setdefault(PACKAGE, PACKAGE)


def _exec_utils(loader: Loader, module: ModuleType) -> None:
    """Execute the module that holds the table, then add to it."""
    loader.exec_module(module)
    _add(module)


EXECUTORS = {MODULE: _exec_utils}


def install() -> None:
    """Make ``_base_ = 'mmdhp::...'`` work. Nothing is imported here."""
    if MODULE in sys.modules:
        _add(sys.modules[MODULE])
    else:
        install_executors(EXECUTORS)
