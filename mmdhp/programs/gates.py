"""Gates of channel units in front of every layer that mixes channels.

Between the layers that make a channel and those that read it everything is
channel-wise (norms, activations, depthwise convs, sums inside a group), so
that a zero at the readers' inputs equals the removed channel, whatever
constants stand in between.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils.hooks import RemovableHandle

from mmdhp.graph import ChannelGraph
from mmdhp.graph.rules.products import whole_groups

LAYERS = (_ConvNd, nn.Linear)


@dataclass(frozen=True)
class Reader:
    """A layer that mixes the channels of its input.

    Args:
        name (str): Dotted module name.
        module (nn.Module): A conv or linear layer.
        units (Tensor): Unit of every input channel, shape ``(c, )``.
    """

    name: str
    module: nn.Module
    units: Tensor

    @property
    def trailing(self) -> int:
        """Axes behind the channel axis of the input."""
        if isinstance(self.module, _ConvNd):
            return len(self.module.kernel_size)
        return 0


def find_readers(model: nn.Module, graph: ChannelGraph) -> list[Reader]:
    """Layers in front of which gates stand, in call order.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.
    """
    modules = dict(model.named_modules())
    readers: dict[int, Reader] = {}
    for _, name, _, rows, columns in graph.layer_terms():
        module = modules[name]
        units = _input_units(module, rows, columns)
        if isinstance(module, LAYERS) and (units < graph.num_units).any():
            readers.setdefault(id(module), Reader(name, module, units))
    return list(readers.values())


def escaping_groups(
    model: nn.Module, graph: ChannelGraph, run: Callable[[], Any]
) -> list[str]:
    """Groups for which a gate would not equal the removal.

    Nothing reads their channels; or what does so is no layer that is called,
    as in ``nn.MultiheadAttention``; or a weight is computed from others, such
    as its own norm, in which the removed ones would count.

    Args:
        model (nn.Module): The traced model. It runs once, in eval mode.
        graph (ChannelGraph): Its graph.
        run (Callable): Runs the model.

    Returns:
        list[str]: Their names.
    """
    modules = dict(model.named_modules())
    called = _called(model, run)
    gated = torch.zeros(graph.num_units, dtype=torch.bool)
    escaped = torch.zeros(graph.num_units, dtype=torch.bool)
    for _, name, _, rows, columns in graph.layer_terms():
        module = modules[name]
        read = _input_units(module, rows, columns)
        layer = isinstance(module, LAYERS)
        if layer and 'weight' not in module._parameters:  # computed
            read = torch.tensor([*rows, *columns], dtype=torch.long)
            layer = False
        known = gated if layer and name in called else escaped
        known[read[read < graph.num_units]] = True
    blind = escaped | ~gated
    return [g.name for g in graph.groups if blind[g.start : g.stop].any()]


@torch.no_grad()
def _called(model: nn.Module, run: Callable[[], Any]) -> set[str]:
    """Names of the modules that a forward pass calls."""
    found = set()
    handles = [
        module.register_forward_pre_hook(
            lambda module, inputs, name=name: found.add(name)
        )
        for name, module in model.named_modules()
    ]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    return found


def _input_units(
    module: nn.Module, rows: Sequence[int], columns: Sequence[int]
) -> Tensor:
    """Unit of every channel that a layer mixes; none if it mixes none."""
    if not isinstance(module, _ConvNd):
        return torch.tensor(columns, dtype=torch.long)
    if whole_groups(module.groups, module.in_channels // module.groups):
        if module.groups > 1:  # a group of channels stays one, like a channel
            return torch.zeros(0, dtype=torch.long)
    if isinstance(module, _ConvTransposeNd):
        return torch.tensor(rows, dtype=torch.long)
    return torch.tensor(columns, dtype=torch.long).repeat(module.groups)


class Gates:
    """Multiplies inputs of layers by one number per channel unit.

    The model's weights, keys and classes stay as they are; gates are forward
    hooks that exist from :meth:`install` to :meth:`remove`. With gradients
    enabled a forward pass meets the gates of :meth:`write`, without (in a
    validation) those of :meth:`show`.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.

    Attributes:
        readers (list[Reader]): Where gates stand.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        self.readers = find_readers(model, graph)
        self._extend = graph.extend
        self._count = graph.num_units
        device = next(model.parameters()).device
        ones = graph.extend(torch.ones(graph.num_units, device=device))
        self._train = ones.clone().requires_grad_()
        self._shown = ones
        self._handles: list[RemovableHandle] = []

    def install(self) -> None:
        """Put the gates into the model, in place; once is enough."""
        if self._handles:
            return
        for reader in self.readers:
            units = reader.units.to(self._train.device)
            hook = _GateHook(self, units, reader.trailing)
            self._handles.append(
                reader.module.register_forward_pre_hook(hook, with_kwargs=True)
            )

    def remove(self) -> None:
        """Take the gates out of the model, in place."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def values(self) -> Tensor:
        """Gates of the present pass, shape ``(U + F + 1, )``."""
        return self._train if torch.is_grad_enabled() else self._shown

    @torch.no_grad()
    def write(self, gates: Tensor) -> None:
        """Set the gates of training, shape ``(U, )``; forget gradients."""
        self._train.copy_(self._extend(gates.to(self._train)))
        self._train.grad = None

    @torch.no_grad()
    def show(self, gates: Tensor) -> None:
        """Set the gates of validation, shape ``(U, )``."""
        self._shown.copy_(self._extend(gates.to(self._shown)))

    def collect(self) -> Tensor:
        """Take the gradient of the loss in every gate; then clear it.

        It is the sum over all backward passes, averaged over processes.

        Returns:
            Tensor: float32, shape ``(U, )``.
        """
        grad = self._train.grad
        if grad is None:
            grad = torch.zeros_like(self._train)
        self._train.grad = None
        grad = grad[: self._count].clone()
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(grad)
            grad /= distributed.get_world_size()
        return grad


class _GateHook:
    """Multiplies the input of one layer."""

    def __init__(self, gates: Gates, units: Tensor, trailing: int) -> None:
        self.gates = gates
        self.units = units
        self.trailing = trailing

    def __call__(
        self, module: nn.Module, args: tuple, kwargs: dict
    ) -> tuple[tuple, dict]:
        if args:
            return (self._gated(args[0]), *args[1:]), kwargs
        return args, {**kwargs, 'input': self._gated(kwargs['input'])}

    def _gated(self, x: Tensor) -> Tensor:
        gate = self.gates.values[self.units]
        return x * gate.view(-1, *[1] * self.trailing).to(x.dtype)


def inner_groups(model: nn.Module, graph: ChannelGraph) -> list[str]:
    """Groups that are made and read inside one block of a network.

    These are what the papers on residual networks prune: first convs of a
    basic block, first and second ones of a bottleneck, expansions of an
    inverted residual. A block is a module whose class occurs at least twice
    and that is no plain container.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.
    """
    touching: list[list[str]] = [[] for _ in graph.groups]
    for _, name, _, rows, columns in graph.layer_terms():
        units = torch.tensor([*rows, *columns], dtype=torch.long)
        units = units[units < graph.num_units]
        for index in graph.group_of_unit[units].unique().tolist():
            touching[index].append(name)
    modules = dict(model.named_modules())
    counts: dict[type, int] = {}
    for module in modules.values():
        counts[type(module)] = counts.get(type(module), 0) + 1
    inner = []
    for group, names in zip(graph.groups, touching):
        block = _block_around(names, modules) if names else None
        if block is not None and counts[type(block)] > 1:
            inner.append(group.name)
    return inner


def _block_around(
    names: Sequence[str], modules: Mapping[str, nn.Module]
) -> Optional[nn.Module]:
    """The smallest module around several that is no plain container."""
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    for prefix in _ancestors(names[0]):
        if all(name.startswith(f'{prefix}.') for name in names):
            if not isinstance(modules[prefix], containers):
                return modules[prefix]
    return None


def _ancestors(name: str) -> Iterator[str]:
    """Names of the modules around one, the root excluded."""
    while '.' in name:
        name = name.rpartition('.')[0]
        yield name
