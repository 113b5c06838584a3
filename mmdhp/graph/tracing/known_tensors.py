"""The tensors of a trace, and their shadows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .atoms import AtomTable
from .operator_call import tensors_of
from .shadow import ParameterAtoms, Shadow
from .strands import (
    NO_ATOM,
    Strand,
    channel_rows,
    on_axis,
)

OUTSIDE = 'a tensor made outside the traced operators'


class KnownTensors:
    """Knows the shadow of every tensor that a forward pass has met.

    Begins with what is there before it: parameters, buffers, constants that
    modules hold, and the inputs.

    Args:
        model (nn.Module): The model, untouched.
        inputs (Any): What it is called with, nested as it likes.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self.model = model
        self.atoms = AtomTable()
        self.pixels = AtomTable()  # unions of channels laid out in space
        self.parameters: dict[int, ParameterAtoms] = {}
        self.batch_size = 1
        self._modules = dict(model.named_modules())
        self._shadows: dict[int, Shadow] = {}
        self._sources: dict[int, ParameterAtoms] = {}  # of derived weights
        self._alive: list[Any] = []  # ids are reused: keep every tensor
        self._register_parameters()
        self._register_attributes()
        self._register_inputs(inputs)

    # --------------------------------------------------------------- register
    def _register_parameters(self) -> None:
        parameters = list(self.model.named_parameters(remove_duplicate=False))
        buffers = list(self.model.named_buffers(remove_duplicate=False))
        names: dict[int, list[str]] = {}
        for name, tensor in parameters + buffers:
            names.setdefault(id(tensor), []).append(name)
        trainable = {id(tensor) for _, tensor in parameters}
        for _, tensor in parameters + buffers:
            if id(tensor) not in self.parameters:
                self._register(
                    names[id(tensor)], tensor, id(tensor) in trainable
                )
        for prefix, module in self.model.named_modules():
            for leaf in module._non_persistent_buffers_set:
                self._freeze_unsaved(f'{prefix}.{leaf}'.lstrip('.'), module)

    def _register(
        self, names: Sequence[str], tensor: Tensor, trainable: bool
    ) -> None:
        axes = tuple(self.atoms.allocate(size) for size in tensor.shape)
        self.pixels.size = self.atoms.size
        entry = ParameterAtoms(
            names[0], tuple(names[1:]), tensor, axes, trainable
        )
        self.parameters[id(tensor)] = entry
        strands = tuple(
            on_axis(atoms, axis, len(axes))
            for axis, atoms in enumerate(axes[: self._channel_axes(entry)])
            if len(atoms) > 1
        )
        self._remember(tensor, Shadow(strands, f'parameter {names[0]}'))
        self._sources[id(tensor)] = entry
        for atoms in axes:
            if len(atoms) == 1:
                reason = f'{names[0]} has a single channel'
                self.atoms.freeze(atoms, 'single', reason)

    def _channel_axes(self, entry: ParameterAtoms) -> int:
        """How many axes may carry channels: not those of a conv's kernel."""
        owner = entry.name.partition('.parametrizations.')[0]
        if owner == entry.name:
            owner = entry.name.rpartition('.')[0]
        kernel = isinstance(self._modules.get(owner), _ConvNd)
        return 2 if kernel else len(entry.axes)

    def _freeze_unsaved(self, name: str, module: nn.Module) -> None:
        """A checkpoint could not say how wide such a buffer is."""
        tensor = module._buffers.get(name.rpartition('.')[2])
        if tensor is not None:
            reason = f'buffer {name} is not saved in checkpoints'
            for atoms in self.parameters[id(tensor)].axes:
                self.atoms.freeze(atoms, 'not-saved', reason)

    def _register_attributes(self) -> None:
        """Plain tensors that modules hold are constants."""
        for module in self.model.modules():
            for name, value in vars(module).items():
                if name in ('_parameters', '_buffers', '_modules'):
                    continue
                if not isinstance(value, (Tensor, list, tuple, dict)):
                    continue
                for tensor in tensors_of(value):
                    if id(tensor) not in self._shadows:
                        self._remember(tensor, Shadow())

    def _register_inputs(self, inputs: Any) -> None:
        tensors = tensors_of(inputs)
        for tensor in tensors:
            shadow = Shadow(origin="the model's input", dynamic=True)
            self._remember(tensor, shadow)
        if tensors and tensors[0].dim() > 0:
            self.batch_size = max(tensors[0].shape[0], 1)

    # ------------------------------------------------------- tensors, shadows
    def _remember(self, tensor: Tensor, shadow: Shadow) -> None:
        self._alive.append(tensor)
        self._shadows[id(tensor)] = shadow

    def shadow(self, tensor: Tensor) -> Shadow:
        """Shadow of a tensor; an empty one if it was never seen."""
        shadow = self._shadows.get(id(tensor))
        return shadow or Shadow(origin=OUTSIDE, code='bypass')

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor follows from parameters and constants alone."""
        return not self.shadow(tensor).dynamic

    def aligned(self, tensor: Tensor, ndim: int) -> list[Strand]:
        """Strands of a tensor, left-padded to ``ndim`` axes."""
        lead = (1,) * (ndim - tensor.dim())
        strands = self.shadow(tensor).strands
        return [s.reshape(lead + s.shape) for s in strands]

    def axis(self, tensor: Tensor, axis: int) -> np.ndarray:
        """One atom per position along ``axis``, shape ``(size, )``.

        All atoms of a position are tied; positions without one read
        ``NO_ATOM``.
        """
        axis %= tensor.dim()
        entry = self.parameters.get(id(tensor))
        if entry is not None:
            return entry.axes[axis]
        chosen = np.full(tensor.shape[axis], NO_ATOM)
        for strand in self.shadow(tensor).along(axis):
            rows = channel_rows(strand, axis)
            heads = rows.max(1)
            if rows.shape[1] > 1:
                self.atoms.union(rows, heads[:, None])
                self.pixels.union(rows, heads[:, None])
            self.atoms.union(heads, chosen)
            chosen = np.where(chosen == NO_ATOM, heads, chosen)
        return chosen
