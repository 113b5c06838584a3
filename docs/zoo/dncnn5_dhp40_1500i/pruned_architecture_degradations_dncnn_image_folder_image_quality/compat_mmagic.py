"""What lets MMagic 1.x be imported on a current stack.

MMagic 1.2.0, the last release, fails to import today for four reasons:

1. ``mmagic`` asserts an mmcv older than 2.2;
2. ``mmagic.utils.trans_utils`` uses ``np.bool8``, which NumPy 2 removed;
3. ``mmagic.models.archs`` registers every class that diffusers lists, and a
   few of those cannot be imported;
4. ``mmagic.models.editors`` imports all of its editors at once, and a few of
   them need packages that are absent or have changed (diffusers,
   transformers).

:func:`install` lets these four modules, and no other, be executed with what
they need. Where MMagic imports by itself the outcome is the same as without
it, and what is changed for an import is restored after it.
"""

import ast
import importlib
import os
from importlib.abc import InspectLoader, Loader
from types import ModuleType
from typing import Any

from .import_hook import (
    exec_under_accepted_mmcv,
    install_executors,
    presented,
)

_unavailable: dict[str, str] = {}


def _exec_trans_utils(loader: Loader, module: ModuleType) -> None:
    """Execute ``mmagic.utils.trans_utils``, if need be with ``np.bool8``."""
    try:
        loader.exec_module(module)
    except AttributeError:
        numpy = importlib.import_module('numpy')
        with presented(numpy, 'bool8', numpy.bool_):
            loader.exec_module(module)


def _importable(module: ModuleType, name: str) -> bool:
    """Whether ``module`` gives its lazily imported member ``name``."""
    try:
        getattr(module, name)
    except Exception:  # whatever importing that member may raise
        return False
    return True


def _exec_archs(loader: Loader, module: ModuleType) -> None:
    """Execute ``mmagic.models.archs`` and skip what diffusers cannot import.

    It registers all that ``dir`` lists in ``diffusers.models`` and
    ``diffusers.pipelines``; one member that fails would take every editor of
    MMagic along.
    """
    try:
        lazy_type = type(importlib.import_module('diffusers.pipelines'))
    except ImportError:
        lazy_type = ModuleType
    if lazy_type is ModuleType:  # absent, or lists only what it has imported
        loader.exec_module(module)
        return
    list_names = lazy_type.__dir__

    def list_importable(lazy_module: Any) -> list[str]:
        names = list_names(lazy_module)
        return [name for name in names if _importable(lazy_module, name)]

    with presented(lazy_type, '__dir__', list_importable):
        loader.exec_module(module)


def _exec_editors(loader: InspectLoader, module: ModuleType) -> None:
    """Execute ``mmagic.models.editors`` and skip the imports that fail.

    Statement by statement, because executing it again after a failure would
    register the classes of the failed editor twice.
    """
    source = loader.get_source(module.__name__)
    if source is None:  # a distribution that ships byte code only
        loader.exec_module(module)
        return
    filename = module.__file__ or module.__name__
    for statement in ast.parse(source, filename).body:
        code = compile(ast.Module([statement], []), filename, 'exec')
        try:
            exec(code, vars(module))
        except Exception as error:  # an editor may fail in any way
            if not isinstance(statement, ast.ImportFrom):
                raise
            editor = str(statement.module)
            _unavailable[editor] = f'{type(error).__name__}: {error}'
    members = vars(module)
    members['__all__'] = [n for n in members['__all__'] if n in members]


EXECUTORS = {
    'mmagic': exec_under_accepted_mmcv,
    'mmagic.utils.trans_utils': _exec_trans_utils,
    'mmagic.models.archs': _exec_archs,
    'mmagic.models.editors': _exec_editors,
}


def install() -> None:
    """Make a later ``import mmagic`` work, whoever does the import.

    Cheap: MMagic is not imported here. Calling it again changes nothing.

    MMagic and MMPretrain import albumentations, which asks the network for
    its newest release unless the environment variable
    ``NO_ALBUMENTATIONS_UPDATE`` is set. It is set here, if it is not already.
    """
    os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')
    install_executors(EXECUTORS)


def import_mmagic() -> ModuleType:
    """Import MMagic with its models, editors that cannot work excepted.

    Returns:
        ModuleType: The package ``mmagic``.

    Raises:
        ImportError: If MMagic is not installed.
    """
    install()
    try:
        mmagic = importlib.import_module('mmagic')
    except ModuleNotFoundError as error:
        if error.name != 'mmagic':
            raise
        raise ImportError(
            'mmagic: not installed, but super-resolution and denoising need '
            'version 1.0 or newer of it. Install it with '
            '`pip install "mmdhp[mmagic]"`.',
            name='mmagic',
        ) from error
    importlib.import_module('mmagic.models')
    return mmagic


def unavailable_editors() -> dict[str, str]:
    """Tell which of MMagic's editors could not be imported, and why.

    Returns:
        dict[str, str]: Editor, as its folder in ``mmagic/models/editors`` is
        named, to the type and message of its error. Empty until
        ``mmagic.models`` was imported under :func:`install`.
    """
    return dict(_unavailable)
