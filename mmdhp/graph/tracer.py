"""Shadow execution: run a model once and watch which channels meet.

The model runs on fake tensors (shapes only, no arithmetic) under a dispatch
mode that sees every operator. A model whose Python code looks at values is
run once more on real tensors, on the path that those values take.
"""
import contextlib
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from .errors import GraphError
from .rules import find_rule
from .shadow import (
    NO_ATOM,
    AtomTable,
    Call,
    Grid,
    Shadow,
    Strand,
    channel_rows,
)

Inputs = Union[Tensor, tuple, list, dict]


@dataclass(frozen=True)
class ParameterAtoms:
    """One parameter or buffer and the atoms of its axes.

    Args:
        name (str): Dotted name, as in the state dict.
        aliases (tuple[str]): Further names of the same tensor.
        tensor (Tensor): The parameter or buffer itself.
        axes (tuple[ndarray]): Atoms of each axis, shape ``(size, )`` each.
        trainable (bool): Whether it is a parameter rather than a buffer.
    """

    name: str
    aliases: Tuple[str, ...]
    tensor: Tensor
    axes: Tuple[np.ndarray, ...]
    trainable: bool

    @property
    def module(self) -> str:
        """Dotted name of the owning module."""
        return self.name.rpartition('.')[0]

    @property
    def leaf(self) -> str:
        """Attribute name inside the owning module."""
        return self.name.rpartition('.')[2]


@dataclass(frozen=True)
class LayerRecord:
    """One call that costs arithmetic.

    Args:
        kind (str): ``'weight'`` (conv, linear), ``'norm'`` or ``'act'``.
        module (str): Dotted module name.
        rows (ndarray): Atoms of the output axis, shape ``(n, )``.
        columns (ndarray): Atoms of the weight's input axis, ``(c, )``; empty
            for norms and activations.
        factor (float): Multiplications per (row, column) pair and sample.
    """

    kind: str
    module: str
    rows: np.ndarray
    columns: np.ndarray
    factor: float


class Tracer:
    """Collects everything one forward pass tells about channels.

    Rules (:mod:`mmdhp.graph.rules`) talk to this object only.

    Args:
        model (nn.Module): The model, untouched.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.atoms = AtomTable()
        self.parameters: Dict[int, ParameterAtoms] = {}
        self.layers: List[LayerRecord] = []
        self.grids: List[Grid] = []
        self.producers: List[Tuple[str, np.ndarray]] = []
        self.batch_size = 1
        self.stack: List[Tuple[str, nn.Module]] = []
        self._alive: List[Any] = []
        self._shadows: Dict[int, Tuple[Shadow, bool]] = {}
        self._used: set = set()
        self._names = {id(m): n for n, m in model.named_modules()}
        self._inputs_of: Dict[int, List[Tensor]] = {}
        self._charged: set = set()
        self._register_parameters()

    def _register_parameters(self) -> None:
        named = [
            (n, p, True)
            for n, p in self.model.named_parameters(remove_duplicate=False)
        ] + [
            (n, b, False)
            for n, b in self.model.named_buffers(remove_duplicate=False)
        ]
        aliases: Dict[int, List[str]] = {}
        for name, tensor, _ in named:
            aliases.setdefault(id(tensor), []).append(name)
        for name, tensor, trainable in named:
            if id(tensor) in self.parameters:
                continue
            axes = tuple(self.atoms.allocate(size) for size in tensor.shape)
            self.freeze(
                [atoms for atoms in axes if len(atoms) == 1],
                'single',
                f'{name} has a single channel',
            )
            self.parameters[id(tensor)] = ParameterAtoms(
                name, tuple(aliases[id(tensor)][1:]), tensor, axes, trainable
            )
            strands = tuple(
                atoms.reshape([-1 if i == axis else 1 for i in range(len(axes))])
                for axis, atoms in enumerate(axes)
                if len(atoms) > 1
            )
            self._remember(tensor, Shadow(strands, f'parameter {name}'), False)

    # ------------------------------------------------------- tensors, shadows
    def _remember(self, tensor: Tensor, shadow: Shadow, dynamic: bool) -> None:
        self._alive.append(tensor)
        self._shadows[id(tensor)] = (shadow, dynamic)

    def shadow(self, tensor: Tensor) -> Shadow:
        """Shadow of a tensor; an empty one if it was never seen."""
        if id(tensor) in self._shadows:
            return self._shadows[id(tensor)][0]
        return Shadow(origin='a tensor made outside the traced operators')

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor follows from parameters alone."""
        return not self._shadows.get(id(tensor), (None, True))[1]

    def set(self, call: Call, strands: Any, tensor: Optional[Tensor] = None):
        """Give the call's (first) output its strands."""
        if tensor is None:
            tensor = next(
                t for t in tree_leaves(call.out) if isinstance(t, Tensor)
            )
        strands = tuple(s for s in strands if s.size > 1)
        for strand in strands:
            _check_fits(strand, tensor, call.name)
        inputs = [self._shadows.get(id(t)) for t in call.tensors]
        known = [entry for entry in inputs if entry is not None]
        moving = [entry for entry in known if entry[1]]
        origin = next(
            (s.origin for s, _ in moving or known), f'a constant of {call.name}'
        )
        self._remember(tensor, Shadow(strands, origin), bool(moving))

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
            self.atoms.union(rows, heads[:, None])
            self.atoms.union(heads, chosen)
            chosen = np.where(chosen == NO_ATOM, heads, chosen)
        return chosen

    # ------------------------------------------------------------- statements
    def where(self, call: Call) -> str:
        """Say module and operator for messages."""
        module = self.stack[-1][0] if self.stack else ''
        return f'{call.name} in {module or "the model"}'

    def tie(self, first: np.ndarray, second: np.ndarray, why: str) -> None:
        """Union two channel axes; what meets a fixed position is frozen.

        Args:
            first (ndarray): Atoms, broadcastable against ``second``.
            second (ndarray): Atoms.
            why (str): What fixes the positions that carry no atom.
        """
        self.atoms.union(first, second)
        first, second = np.broadcast_arrays(first, second)
        self.atoms.freeze(first[second == NO_ATOM], 'fixed-width', why)
        self.atoms.freeze(second[first == NO_ATOM], 'fixed-width', why)

    def freeze(self, strands: Any, code: str, reason: str) -> None:
        """Freeze every atom of the strands."""
        for strand in strands:
            self.atoms.freeze(strand, code, reason)

    def charge(
        self,
        kind: str,
        rows: np.ndarray,
        columns: np.ndarray,
        factor: float,
    ) -> None:
        """Record arithmetic of the current module.

        Activations are charged once per module instance, as the published
        counters do.
        """
        name, module = self.stack[-1] if self.stack else ('', self.model)
        if kind == 'act':
            if id(module) in self._charged:
                return
            self._charged.add(id(module))
        factor = factor / self.batch_size
        self.layers.append(LayerRecord(kind, name, rows, columns, factor))

    # ------------------------------------------------------------- observing
    def observe(self, call: Call) -> None:
        """Apply the rule of one operator call."""
        self._used.update(id(t) for t in call.tensors)
        self._alive.append(call.out)
        outputs = [t for t in tree_leaves(call.out) if isinstance(t, Tensor)]
        if not outputs:  # a question about a tensor, such as its device
            return
        rule = find_rule(call)
        if rule is not None:
            rule(self, call)
            return
        strands = [s for t in call.tensors for s in self.shadow(t).strands]
        self.freeze(
            strands,
            'unknown-operator',
            f'{self.where(call)} has no rule, so the channels that reach it '
            'keep their width',
        )
        origin = f'the output of {self.where(call)}, which has no rule'
        dynamic = not all(self.is_weight(t) for t in call.tensors)
        for tensor in outputs:
            self._remember(tensor, Shadow(origin=origin), dynamic)

    def enter(self, module: nn.Module, args: tuple) -> None:
        """Note that ``module`` is running."""
        name = self._names.get(id(module))
        if name is None:
            name = self.stack[-1][0] if self.stack else ''
        self.stack.append((name, module))
        tensors = [t for t in tree_leaves(args) if isinstance(t, Tensor)]
        if id(module) in self._names and module._parameters:
            self._inputs_of.setdefault(id(module), []).extend(tensors)
            self._alive.append(tensors)

    def leave(self) -> None:
        """Note that the innermost module returned."""
        self.stack.pop()

    def finish(self, outputs: Any) -> None:
        """Freeze what leaves the model and what bypassed the dispatcher."""
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, Tensor):
                self.freeze(
                    self.shadow(tensor).strands,
                    'output',
                    'its channels are an output of the model',
                )
        modules = dict(self.model.named_modules())
        for module in modules.values():
            missed = [
                p
                for p in module._parameters.values()
                if p is not None and id(p) not in self._used
            ]
            if not missed or id(module) not in self._inputs_of:
                continue
            name = self._names[id(module)]
            reason = (
                f'{name} ({type(module).__name__}) computes outside the '
                'traced operators (a compiled extension?)'
            )
            for tensor in self._inputs_of[id(module)]:
                self.freeze(self.shadow(tensor).strands, 'bypass', reason)
            for parameter in missed:
                axes = self.parameters[id(parameter)].axes
                self.freeze(axes, 'bypass', reason)

    @property
    def unused(self) -> List[str]:
        """Names of parameters that the forward pass never touched."""
        return [
            entry.name
            for key, entry in self.parameters.items()
            if entry.trainable and key not in self._used
        ]


class _ObserverMode(TorchDispatchMode):
    """Runs every operator, then tells the tracer."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._schema.name
        self.tracer.observe(Call(name, func, args, kwargs, out))
        return out


def _check_fits(strand: Strand, tensor: Tensor, name: str) -> None:
    shape = tuple(tensor.shape)
    fits = strand.ndim == len(shape) and all(
        s in (1, size) for s, size in zip(strand.shape, shape)
    )
    if not fits:
        raise GraphError(
            f'{name}: its rule made a shadow of shape {strand.shape} for an '
            f'output of shape {shape}. This is a defect of the rule; add the '
            'modules around it to `exclude` and report it.'
        )


@contextlib.contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; everything as it was afterwards."""
    modules = list(model.modules())
    attributes = [dict(m.__dict__) for m in modules]
    training = [m.training for m in modules]
    buffers = [{k: b for k, b in m._buffers.items()} for m in modules]
    values = [
        (b, b.detach().clone()) for m in modules for b in m._buffers.values()
        if b is not None
    ]
    rng = torch.get_rng_state()
    try:
        model.eval()
        yield
    finally:
        for module, saved in zip(modules, attributes):
            module.__dict__.clear()
            module.__dict__.update(saved)
        for module, mode, saved_buffers in zip(modules, training, buffers):
            module.training = mode
            module._buffers.clear()
            module._buffers.update(saved_buffers)
        with torch.no_grad():
            for buffer, value in values:
                buffer.copy_(value)
        torch.set_rng_state(rng)


def call_model(
    model: nn.Module,
    inputs: Inputs,
    forward: Optional[Callable[[nn.Module, Any], Any]] = None,
) -> Any:
    """Run a model on a tensor, positional (tuple) or keyword (dict) inputs."""
    if forward is not None:
        return forward(model, inputs)
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


def _run(
    model: nn.Module,
    inputs: Inputs,
    forward: Optional[Callable],
    fake: Optional[FakeTensorMode],
) -> Tracer:
    tracer = Tracer(model)
    with contextlib.ExitStack() as context:
        context.enter_context(torch.no_grad())
        if fake is not None:
            inputs = tree_map_only(Tensor, fake.from_tensor, inputs)
            context.enter_context(fake)
        leaves = [t for t in tree_leaves(inputs) if isinstance(t, Tensor)]
        for tensor in leaves:
            shadow = Shadow(origin="the model's input")
            tracer._remember(tensor, shadow, True)
        if leaves and leaves[0].dim() > 0:
            tracer.batch_size = max(leaves[0].shape[0], 1)
        hooks = [
            register_module_forward_pre_hook(
                lambda module, args: tracer.enter(module, args)
            ),
            register_module_forward_hook(
                lambda module, args, out: tracer.leave(), always_call=True
            ),
        ]
        try:
            with _ObserverMode(tracer):
                outputs = call_model(model, inputs, forward)
        finally:
            for hook in hooks:
                hook.remove()
        tracer.finish(outputs)
    return tracer


def execute(
    model: nn.Module,
    inputs: Inputs,
    forward: Optional[Callable[[nn.Module, Any], Any]] = None,
) -> Tracer:
    """Run ``model`` once on ``inputs`` in evaluation mode and observe it.

    The model, its buffers and the random state are as before afterwards.

    Args:
        model (nn.Module): Any module.
        inputs (Tensor | tuple | dict): Sample inputs, batch first.
        forward (Callable, optional): Called as ``forward(model, inputs)``
            where calling the model is not enough.

    Returns:
        Tracer: What was observed.

    Raises:
        GraphError: If the model cannot run on these inputs.
    """
    shapes = [
        tuple(t.shape) for t in tree_leaves(inputs) if isinstance(t, Tensor)
    ]
    with _untouched(model):
        try:
            return _run(
                model, inputs, forward, FakeTensorMode(allow_non_fake_inputs=True)
            )
        except GraphError:
            raise
        except Exception:  # values are needed: run on real tensors
            pass
    with _untouched(model):
        try:
            return _run(model, inputs, forward, None)
        except GraphError:
            raise
        except Exception as error:
            raise GraphError(
                f'{type(model).__name__} cannot run on inputs of shape '
                f'{shapes}: {type(error).__name__}: {error}. Give an input '
                'that the model accepts (`input_shape` in a config, without '
                'the batch axis).'
            ) from error
