"""When things happen in a Runner: optimizer wrapper, hook, export."""

from .constructor import PruningOptimWrapperConstructor
from .optim_wrapper import PruningAmpOptimWrapper, PruningOptimWrapper
from .pruning_hook import PruningHook

__all__ = [
    'PruningAmpOptimWrapper',
    'PruningHook',
    'PruningOptimWrapper',
    'PruningOptimWrapperConstructor',
]
