"""Copies of a model whose modules have had their ``forward`` decorated."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def plain_forwards(model: nn.Module) -> Iterator[None]:
    """Undo decorations of ``forward`` for a while, in place.

    Activation checkpointing, for one, puts a function into a module that
    calls the module's own ``forward``. A deep copy of the module would hold
    the same function, and compute with the weights of the original. A copy
    that is made in this context computes with its own.

    Args:
        model (nn.Module): Decorated again behind the context.
    """
    decorated = {
        module: vars(module)['forward']
        for module in model.modules()
        if _is_decorated(module)
    }
    for module in decorated:
        del module.__dict__['forward']
    try:
        yield
    finally:
        for module, forward in decorated.items():
            module.__dict__['forward'] = forward


def _is_decorated(module: nn.Module) -> bool:
    """Whether a function of the instance wraps the forward of its class."""
    forward: Any = vars(module).get('forward')
    if not hasattr(forward, '__wrapped__'):
        return False
    while hasattr(forward, '__wrapped__'):
        forward = forward.__wrapped__
    own = getattr(forward, '__self__', None) is module
    return own and forward.__func__ is type(module).forward
