"""Put a model, and what is global, back as it was."""

import contextlib
import random
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextlib.contextmanager
def same_globals() -> Iterator[None]:
    """Put back random states, default dtype and device, and grad mode."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    python, numpy = random.getstate(), np.random.get_state()
    cpu = torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if cuda else []
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        with same_device():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)


@contextlib.contextmanager
def same_device() -> Iterator[None]:
    """Put back PyTorch's default device.

    It lies on a stack with all modes, so this must be the innermost of them.
    """
    before = _device_context()
    try:
        yield
    finally:
        if _device_context() is not before:
            torch.set_default_device(before.device if before else None)


def _device_context() -> Any:
    holder = getattr(torch, '_GLOBAL_DEVICE_CONTEXT', None)
    return getattr(holder, 'device_context', None)


@contextlib.contextmanager
def untouched(model: nn.Module, tensors: Iterable[Tensor]) -> Iterator[None]:
    """Put a model and what is global back, whatever happens.

    Args:
        model (nn.Module): Its modules' attributes are put back, training
            mode and hooks included.
        tensors (Iterable[Tensor]): Of it, whose values are put back.
    """
    saved = _ModelState(model)
    values = [(tensor, tensor.detach().clone()) for tensor in tensors]
    with same_globals():
        try:
            yield
        finally:
            saved.restore()
            for tensor, value in values:
                tensor.data.copy_(value)


@contextlib.contextmanager
def restored_on_error(
    model: nn.Module, values: bool = False
) -> Iterator[None]:
    """Undo a change of a model that fails halfway.

    Args:
        model (nn.Module): The model.
        values (bool): Whether the change writes into tensors that it does not
            replace, so that copies are needed. Defaults to False.
    """
    saved = _ModelState(model)
    tensors = [*model.parameters(), *model.buffers()]
    data = [(tensor, tensor.data) for tensor in tensors]
    grads = [(parameter, parameter.grad) for parameter in model.parameters()]
    copies = [tensor.detach().clone() for tensor in tensors if values]
    with contextlib.ExitStack() as context:
        context.enter_context(same_globals())
        try:
            yield
        except BaseException:
            saved.restore()
            for tensor, own in data:
                tensor.data = own
            for parameter, grad in grads:
                parameter.grad = grad
            for tensor, copy in zip(tensors, copies):
                tensor.data.copy_(copy)
            raise
        context.pop_all()  # a change that works may draw random numbers


class _ModelState:
    """Attributes of all modules, and which parameters want gradients."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = [_Snapshot(vars(m)) for m in model.modules()]
        self._flags = [(p, p.requires_grad) for p in model.parameters()]

    def restore(self) -> None:
        """Put all of it back, in place."""
        for snapshot in self._modules:
            snapshot.restore()
        for parameter, flag in self._flags:
            parameter.requires_grad_(flag)


class _Snapshot:
    """Content of nested lists and dicts, without copying what they hold."""

    def __init__(self, root: Any) -> None:
        self.saved: dict[int, tuple[Any, Any]] = {}
        pending = [root]
        while pending:
            container = pending.pop()
            if id(container) in self.saved:
                continue
            self.saved[id(container)] = (container, container.copy())
            pending += [
                value
                for value in _values(container)
                if type(value) in (dict, OrderedDict, list)
            ]

    def restore(self) -> None:
        """Put the content back, in place."""
        for container, content in self.saved.values():
            container.clear()
            if isinstance(container, dict):
                container.update(content)
            else:
                container.extend(content)


def _values(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container
