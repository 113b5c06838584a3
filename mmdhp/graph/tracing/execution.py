"""Shadow execution: run a model once under a tracer, and leave no trace.

The model runs on meta tensors (shapes only, no arithmetic) under a dispatch
mode that sees every operator. Where it mixes them with tensors of its own, it
runs on fake ones, which are slower and more forgiving. A model whose Python
code looks at values runs on real tensors, on the path that those values take.
"""

import contextlib
import gc
import logging
from collections.abc import Iterator
from typing import Any, Callable, Optional, Union

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ..cost import Activity
from ..errors import GraphError
from ..open_forward import install
from ..restoring import same_device, untouched
from .operator_call import Call, Spelling
from .tracer import Tracer

Inputs = Union[Tensor, tuple, list, dict]
Forward = Callable[[nn.Module, Any], Any]


class _SpellingMode(TorchFunctionMode):
    """Notes how Python code spells the operators it calls, and its sizes."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer
        self.spelling = Spelling()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        outer = self.spelling
        name = getattr(func, '__name__', '')
        self.spelling = Spelling(name, args, kwargs)
        try:
            out = func(*args, **kwargs)
        finally:
            self.spelling = outer
        if func is Tensor.size or getattr(func, '__self__', 0) is Tensor.shape:
            return self._traced(args[0], out, *args[1:], **kwargs)
        if func is Tensor.__len__:
            int(self.tracer.size(args[0], 0))  # Python makes it a plain one
        return out

    def _traced(self, tensor: Tensor, size: Any, dim: Any = None) -> Any:
        """``tensor.size(dim)``, or all sizes, as traced integers."""
        if dim is not None:
            return self.tracer.size(tensor, dim)
        axes = range(len(size))
        return torch.Size([self.tracer.size(tensor, axis) for axis in axes])


class _ObserverMode(TorchDispatchMode):
    """Runs every operator, then tells the tracer."""

    def __init__(self, tracer: Tracer, spelled: _SpellingMode) -> None:
        super().__init__()
        self.tracer = tracer
        self.spelled = spelled

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._schema.name
        spelling = self.spelled.spelling
        self.tracer.observe(Call(name, func, args, kwargs, out, spelling))
        return out


def call_model(
    model: nn.Module, inputs: Inputs, forward: Optional[Forward] = None
) -> Any:
    """Run a model on a tensor, positional (tuple) or keyword (dict) inputs."""
    if forward is not None:
        return forward(model, inputs)
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


def execute(
    model: nn.Module, inputs: Inputs, forward: Optional[Forward] = None
) -> Tracer:
    """Run ``model`` once on ``inputs`` in evaluation mode and observe it.

    The model and what is global (random states, default dtype and the like)
    are as before afterwards.

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
    for stand_ins in (_meta_tensors, _fake_tensors):
        with contextlib.suppress(Exception):  # values, or real tensors
            with _quiet(), untouched(model, list(model.buffers())):
                return _run(model, inputs, forward, stand_ins)
    try:
        with untouched(model, [*model.parameters(), *model.buffers()]):
            return _run(model, inputs, forward, _real_tensors)
    except GraphError:
        raise
    except Exception as error:
        shapes = [
            tuple(leaf.shape)
            for leaf in tree_leaves(inputs)
            if isinstance(leaf, Tensor)
        ]
        raise GraphError(
            f'{type(model).__name__} cannot run on inputs of shape '
            f'{shapes}: {type(error).__name__}: {error}. Give an input '
            'that the model accepts (`input_shape` in a config, without '
            'the batch axis).'
        ) from error


def record_calls(
    model: nn.Module, inputs: Inputs, forward: Optional[Forward] = None
) -> Activity:
    """The operators that a model runs on ``inputs``, with atoms in strands.

    Args:
        model (nn.Module): Any module, unchanged afterwards.
        inputs (Tensor | tuple | dict): Sample inputs, batch first.
        forward (Callable, optional): As for :func:`execute`.

    Raises:
        GraphError: If the model cannot run on these inputs.
    """
    tracer = execute(model, inputs, forward)
    book = tracer.book
    return Activity(book.calls, book.returned, tracer.batch_size)


def _run(
    model: nn.Module,
    inputs: Inputs,
    forward: Optional[Forward],
    stand_ins: Callable[[nn.Module, Inputs], '_StandIns'],
) -> Tracer:
    with contextlib.ExitStack() as context:
        context.enter_context(torch.inference_mode(False))
        context.enter_context(torch.no_grad())
        inputs, mode, is_constant = stand_ins(model, inputs)
        context.enter_context(mode)
        tracer = Tracer(model, inputs, is_constant)
        for hook in (
            register_module_forward_pre_hook(
                lambda module, args: tracer.enter(module, args)
            ),
            register_module_forward_hook(
                lambda module, args, out: tracer.leave(), always_call=True
            ),
        ):
            context.callback(hook.remove)
        for module in model.modules():
            install(module)
        tracer.sizes.mark_attributes(model)
        spelled = context.enter_context(_SpellingMode(tracer))
        context.enter_context(_ObserverMode(tracer, spelled))
        model.eval()  # some modules compute here what they use later
        with same_device():
            outputs = call_model(model, inputs, forward)
        tracer.finish(outputs)
    return tracer


# Inputs, what the model runs under, and whether a tensor that no operator made
# is a constant. Meta and fake tensors have no values that could bypass it.
_StandIns = tuple[
    Inputs, contextlib.AbstractContextManager, Callable[[Tensor], bool]
]


def _real_tensors(model: nn.Module, inputs: Inputs) -> _StandIns:
    before = [o for o in gc.get_objects() if issubclass(type(o), Tensor)]
    known = {id(tensor) for tensor in before}

    def is_constant(tensor: Tensor) -> bool:
        return bool(before) and id(tensor) in known  # kept alive: ids stay

    return inputs, contextlib.nullcontext(), is_constant


def _fake_tensors(model: nn.Module, inputs: Inputs) -> _StandIns:
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    inputs = tree_map_only(Tensor, fake.from_tensor, inputs)
    return inputs, fake, lambda tensor: True


def _meta_tensors(model: nn.Module, inputs: Inputs) -> _StandIns:
    """Put meta tensors in the place of all that a model holds."""
    made: dict[int, Tensor] = {}

    def meta(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            twin = torch.empty_like(tensor, device='meta')
            if isinstance(tensor, nn.Parameter):
                twin = nn.Parameter(twin, tensor.requires_grad)
            made[id(tensor)] = twin
        return made[id(tensor)]

    for module in model.modules():
        holders: tuple[dict, ...] = (
            module._parameters,
            module._buffers,
            vars(module),
        )
        for tensors in holders:
            for name, value in list(tensors.items()):
                if name in ('_parameters', '_buffers', '_modules'):
                    continue
                if isinstance(value, Tensor):
                    tensors[name] = meta(value)
                elif isinstance(value, (list, tuple, dict)) and value:
                    tensors[name] = tree_map_only(Tensor, meta, value)
    inputs = tree_map_only(Tensor, meta, inputs)
    return inputs, torch.device('meta'), lambda tensor: True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch from reporting what fake tensors cannot do."""
    logger = logging.getLogger('torch._subclasses.fake_tensor')
    disabled = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = disabled
