"""When things happen in a Runner: optimizer wrapper and hooks."""

from .constructor import PruningOptimWrapperConstructor
from .distillation_hook import DistillationHook
from .optim_wrapper import PruningAmpOptimWrapper, PruningOptimWrapper
from .pruning_hook import PruningHook

__all__ = [
    'DistillationHook',
    'PruningAmpOptimWrapper',
    'PruningHook',
    'PruningOptimWrapper',
    'PruningOptimWrapperConstructor',
]
