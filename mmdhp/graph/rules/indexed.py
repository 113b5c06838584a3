"""Rules of operators that put values in another order, or pick some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..tracing.operator_call import Call
from ..tracing.shadow import Grid
from ..tracing.strands import Strand, on_axis, volume
from .views import identity

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer


def pixel_shuffle(trace: Tracer, call: Call) -> None:
    """r² consecutive channels become one; they live and die together."""
    x, factor = call.args[:2]
    strands = []
    if trace.shadow(x).along(-3):
        rows = trace.axis(x, -3).reshape(-1, factor * factor)
        trace.tie(rows, rows[:, :1], trace.where(call))
        strands.append(on_axis(rows[:, 0], x.dim() - 3, x.dim()))
    trace.set(call, strands)


def pixel_unshuffle(trace: Tracer, call: Call) -> None:
    """One channel becomes r² consecutive ones."""
    x, factor = call.args[:2]
    strands = []
    if trace.shadow(x).along(-3):
        rows = trace.axis(x, -3).repeat(factor * factor)
        strands.append(on_axis(rows, x.dim() - 3, x.dim()))
    trace.set(call, strands)


def channel_shuffle(trace: Tracer, call: Call) -> None:
    """``(g, c/g)`` transposed: as its view-transpose-view spelling."""
    x, groups = call.args[:2]
    strands = []
    if trace.shadow(x).along(1):
        rows = trace.axis(x, 1).reshape(groups, -1)
        where = trace.where(call)
        trace.grids.append(Grid(rows, (0, 1), (1,), where, spelled=True))
        strands.append(on_axis(rows.T.ravel(), 1, x.dim()))
    trace.set(call, strands)


def reorder(trace: Tracer, call: Call) -> None:
    """Flip, or roll: positions that are rolled depend on the width."""
    x = call.tensors[0]
    axes = [axis % x.dim() for axis in call.argument('dims', ())]
    strands = []
    for strand in trace.shadow(x).strands:
        if call.name.startswith('aten::flip'):
            strands.append(np.flip(strand, tuple(axes)))
        elif axes and all(strand.shape[axis] == 1 for axis in axes):
            strands.append(strand)
        else:
            reason = f'rolled by {trace.where(call)}'
            trace.freeze([strand], 'sliced', reason)
    trace.set(call, strands)


def unfold(trace: Tracer, call: Call) -> None:
    """``im2col``: every channel becomes one per kernel position."""
    x, kernel = call.args[:2]
    strands = []
    if trace.shadow(x).along(-3):
        rows = trace.axis(x, -3).repeat(volume(kernel))
        strands.append(on_axis(rows, x.dim() - 3, x.dim() - 1))
    trace.set(call, strands)


def fold(trace: Tracer, call: Call) -> None:
    """``col2im``: the inverse; kernel positions of a channel are tied."""
    x, _, kernel = call.args[:3]
    strands = []
    if trace.shadow(x).along(-2):
        rows = trace.axis(x, -2).reshape(-1, volume(kernel))
        trace.tie(rows, rows[:, :1], trace.where(call))
        strands.append(on_axis(rows[:, 0], x.dim() - 2, x.dim() + 1))
    trace.set(call, strands)


def restride(trace: Tracer, call: Call) -> None:
    """``as_strided`` that changes the memory format only."""
    out, dense = call.outputs[0], 1
    for size, stride in reversed(list(zip(out.shape, out.stride()))):
        if size > 1 and stride != dense:
            raise ValueError('its strides reorder the elements')
        dense *= size
    identity(trace, call)


def embedding(trace: Tracer, call: Call) -> None:
    """Rows of a table: its columns are the channels."""
    table, index = call.args[:2]
    columns = trace.axis(table, 1)
    trace.freeze([trace.axis(table, 0)], 'indexed', 'rows of an embedding')
    trace.set(call, [on_axis(columns, index.dim(), index.dim() + 1)])


def index(trace: Tracer, call: Call) -> None:
    """``x[:, i]``: indexed axes keep their size, the others move."""
    x, out = call.args[0], call.outputs[0]
    indices = list(call.args[1])
    axes, width = _indexed_axes(indices)
    first = min(axes)
    if axes != list(range(first, first + len(axes))):
        first = 0  # NumPy's rule for indices that are not side by side
    strands = []
    for strand in trace.shadow(x).strands:
        strand = _without_axes(trace, call, strand, axes)
        places = tuple(range(first, first + width))
        strand = np.expand_dims(np.squeeze(strand, tuple(axes)), places)
        strands.append(strand)
    for tensor in indices:
        if tensor is not None:
            reason = f'{trace.where(call)} takes them for positions'
            trace.freeze(trace.shadow(tensor).strands, 'indexed', reason)
    trace.set(call, strands, out)


def _indexed_axes(indices: Sequence[Tensor | None]) -> tuple[list[int], int]:
    """Axes that are indexed, and how many axes take their place."""
    axes: list[int] = []
    axis = width = 0
    for tensor in indices:
        covered = 1
        if tensor is not None:
            if tensor.dtype in (torch.bool, torch.uint8):
                covered, width = tensor.dim(), max(width, 1)
            else:
                width = max(width, tensor.dim())
            axes += range(axis, axis + covered)
        axis += covered
    return axes, width


def _without_axes(
    trace: Tracer, call: Call, strand: Strand, axes: Sequence[int]
) -> Strand:
    """Fix axes and give them size 1."""
    for axis in axes:
        if strand.shape[axis] > 1:
            reason = f'indexed by {trace.where(call)}'
            trace.fix(strand, [axis], 'indexed', reason)
            strand = np.take(strand, [0], axis=axis)
    return strand


def index_along(trace: Tracer, call: Call) -> None:
    """``index_select``, ``gather``: one axis is indexed, the others stay."""
    x = call.tensors[0]
    axis = int(call.argument('dim', 0)) % max(x.dim(), 1)
    strands = [
        _without_axes(trace, call, strand, [axis])
        for strand in trace.shadow(x).strands
    ]
    trace.set(call, strands)


def index_put(trace: Tracer, call: Call) -> None:
    """``x[i] = values`` on the first axis: the channels of both meet."""
    x, indices, values = call.args[:3]
    axes, width = _indexed_axes(list(indices))
    if (axes, width) != ([0], 1):
        raise ValueError('it indexes more than the first axis')
    merged: list[Strand] = list(trace.shadow(x).strands)
    for strand in trace.aligned(values, x.dim()):
        trace.meet(strand, x, call)
        merged = trace.merge(merged, strand, trace.where(call))
    trace.set(call, [_without_axes(trace, call, s, axes) for s in merged])
