"""Rules of operators that change the shape of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tracing.operator_call import Call
from ..tracing.shadow import Grid
from ..tracing.strands import Strand, reshape_strand, split_axes

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer


def identity(trace: Tracer, call: Call) -> None:
    """The same channels: same strands."""
    trace.set(call, trace.shadow(call.tensors[0]).strands)


def nothing(trace: Tracer, call: Call) -> None:
    """A new tensor whose values follow from no other.

    Where the code asks for as many values as there are channels, they follow.
    """
    sizes = _factory_sizes(call)
    fits = len(sizes) == call.outputs[0].dim()
    trace.constant(call, sizes if fits else ())


def _factory_sizes(call: Call) -> Sequence[Any]:
    """Sizes in ``torch.zeros(a, b)`` or ``x.new_zeros((a, b))``."""
    name, args = call.spelling.name, call.spelling.args
    if name.startswith('new_'):
        args = args[1:]
    if name.removeprefix('new_') not in ('zeros', 'ones', 'empty', 'full'):
        return ()
    args = args or (call.spelling.kwargs.get('size', ()),)
    return args[0] if isinstance(args[0], (tuple, list)) else args


def view(trace: Tracer, call: Call) -> None:
    """Reshape; an axis split by the code must stay rectangular."""
    x, out = call.tensors[0], call.outputs[0]
    old, new = tuple(x.shape), tuple(out.shape)
    sizes = _spelled_sizes(call, out.dim())
    strands = []
    for strand in trace.shadow(x).strands:
        reshaped = reshape_strand(strand, old, new)
        axes = split_axes(strand, old, new)
        if axes is not None:
            _note_grid(trace, call, reshaped, axes, sizes)
        for axis, size in enumerate(sizes or ()):
            trace.require(reshaped, axis, size, call)
        strands.append(reshaped)
    trace.set(call, strands)


def _spelled_sizes(call: Call, ndim: int) -> Sequence[Any] | None:
    """The sizes that the model's code asks for; -1 where it leaves one open.

    None if they follow from other tensors, as in ``view_as`` or ``flatten``.
    """
    name = call.spelling.name
    if name in ('view', 'reshape'):
        return call.spelling.sizes(ndim)
    if name == 'unflatten':
        tensor, axis, sizes = (*call.spelling.args, None, None)[:3]
        axis = call.spelling.kwargs.get('dim', axis)
        sizes = call.spelling.kwargs.get('sizes', sizes)
        if isinstance(axis, int) and sizes is not None:
            axis %= tensor.dim()
            whole = [-1] * tensor.dim()
            whole[axis : axis + 1] = sizes
            return whole if len(whole) == ndim else None
    return None


def _note_grid(
    trace: Tracer,
    call: Call,
    strand: Strand,
    axes: tuple[int, ...],
    sizes: Sequence[Any] | None,
) -> None:
    """Find the axes of a split that the code leaves open.

    Sizes that are -1 or follow from a tensor's shape come first, then those
    that a module attribute tells, which can be changed.
    """
    where = trace.where(call)
    known = sizes is not None and not all(sizes[a] == -1 for a in axes)
    if not known or sizes is None:
        trace.grids.append(Grid(strand, axes, axes[::-1][:1], where))
        return
    ranks = {axis: trace.sizes.openness(sizes[axis]) for axis in axes}
    candidates = [axis for axis in axes[::-1] if ranks[axis] is not None]
    if candidates:
        candidates.sort(key=lambda axis: ranks[axis] or 0)
        trace.grids.append(Grid(strand, axes, tuple(candidates), where, True))
    else:
        reason = f'{where} splits them into pieces of sizes that it fixes'
        trace.freeze([strand], 'literal', reason)


def permute(trace: Tracer, call: Call) -> None:
    """Axes change places."""
    x, axes = call.args[:2]
    axes = [axis % x.dim() for axis in axes]
    trace.set(call, [s.transpose(axes) for s in trace.shadow(x).strands])


def transpose(trace: Tracer, call: Call) -> None:
    """Two axes change places."""
    x = call.tensors[0]
    strands = trace.shadow(x).strands
    if x.dim() > 1:
        first, second = call.argument('dim0', 0), call.argument('dim1', -1)
        strands = tuple(np.swapaxes(s, first, second) for s in strands)
    trace.set(call, strands)


def expand(trace: Tracer, call: Call) -> None:
    """Broadcast to a larger shape; copies follow a width the code asks for."""
    x, out = call.tensors[0], call.outputs[0]
    sizes = None
    if call.spelling.name in ('expand', 'broadcast_to'):
        sizes = call.spelling.sizes(out.dim())
    elif call.spelling.name == 'expand_as':
        other = call.spelling.args[1]
        sizes = [trace.size(other, axis) for axis in range(out.dim())]
    trace.set(call, trace.aligned(x, out.dim()), asked=sizes or ())


def unsqueeze(trace: Tracer, call: Call) -> None:
    """A new axis of size 1."""
    x, axis = call.args[:2]
    axis %= x.dim() + 1
    strands = trace.shadow(x).strands
    trace.set(call, [np.expand_dims(s, axis) for s in strands])


def squeeze(trace: Tracer, call: Call) -> None:
    """Axes of size 1 go."""
    x, out = call.tensors[0], call.outputs[0]
    old, new = tuple(x.shape), tuple(out.shape)
    strands = trace.shadow(x).strands
    trace.set(call, [reshape_strand(s, old, new) for s in strands])
