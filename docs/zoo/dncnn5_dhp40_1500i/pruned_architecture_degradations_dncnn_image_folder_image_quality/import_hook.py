"""An import hook that steps in while a few chosen modules are executed.

An exported model carries a copy of this file, so it imports nothing of mmdhp.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Optional

Executor = Callable[[Any, ModuleType], None]

# Lies in the range that MMagic 1.x and MMDetection 3.x accept.
ACCEPTED_MMCV = '2.0.1'


@contextmanager
def presented(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give ``owner`` the attribute ``name`` for a while, then restore it."""
    missing = object()
    original = getattr(owner, name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if original is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, original)


def exec_under_accepted_mmcv(loader: Loader, module: ModuleType) -> None:
    """Execute a package, if need be under an mmcv version it accepts."""
    try:
        loader.exec_module(module)
    except AssertionError:
        mmcv = importlib.import_module('mmcv')
        with presented(mmcv, '__version__', ACCEPTED_MMCV):
            loader.exec_module(module)


class _StandInLoader(Loader):
    """Stands in for a module's own loader while the module is executed."""

    def __init__(self, loader: Loader, execute: Executor) -> None:
        self.loader = loader
        self.execute = execute

    def create_module(self, spec: ModuleSpec) -> Optional[ModuleType]:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Whoever asks the module afterwards (inspect, pickle, resources)
        # meets its own loader.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.execute(self.loader, module)


class ExecutorFinder(MetaPathFinder):
    """Finds the modules of ``executors`` where the other finders do.

    Args:
        executors (Mapping[str, Callable]): What executes a module instead of
            its own loader, by the module's name; called with that loader and
            the module.
    """

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self.executors = executors

    def find_spec(
        self,
        fullname: str,
        path: Optional[Sequence[str]] = None,
        target: Optional[ModuleType] = None,
    ) -> Optional[ModuleSpec]:
        """Find a module of ``executors``; its loader hands it over."""
        if fullname not in self.executors:
            return None
        for finder in (f for f in sys.meta_path if not is_executor_finder(f)):
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _StandInLoader(
                        spec.loader, self.executors[fullname]
                    )
                return spec
        return None


def is_executor_finder(finder: object) -> bool:
    """By name: an exported model carries a copy of this file."""
    return type(finder).__name__ == ExecutorFinder.__name__


def install_executors(executors: Mapping[str, Executor]) -> None:
    """Let ``executors`` execute their modules; again changes nothing."""
    finders: list[Any] = [*filter(is_executor_finder, sys.meta_path)]
    if executors.keys() not in [f.executors.keys() for f in finders]:
        sys.meta_path.insert(0, ExecutorFinder(executors))
