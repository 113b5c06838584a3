"""Rules of operators that keep channels where they are.

Element-wise operators, norms, reductions, and everything spatial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from ..tracing.operator_call import Call
from ..tracing.strands import Strand, on_axis, varying

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.PReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Sigmoid,
    nn.Tanh,
)


def elementwise(trace: Tracer, call: Call) -> None:
    """Channels at the same position meet; fixed widths freeze."""
    out = call.outputs[0]
    where = trace.where(call)
    operands = [(t, trace.aligned(t, out.dim())) for t in call.tensors]
    merged: list[Strand] = []
    for _, strands in operands:
        for strand in strands:
            merged = trace.merge(merged, strand, where)
    for tensor, _ in operands:
        for strand in merged:
            trace.meet(strand, tensor, call)
    trace.set(call, merged)
    module = trace.stack[-1][1] if trace.stack else None
    if isinstance(module, ACTIVATIONS) and out.dim() > 1:
        rows = trace.axis(out, 1)
        trace.charge('act', rows, rows[:0], out.numel() / max(len(rows), 1))


# ----------------------------------------------------------------------- norms
def batch_norm(trace: Tracer, call: Call) -> None:
    """Every per-channel tensor meets axis 1."""
    x = call.tensors[0]
    trace.reads(call, x)
    channels = trace.axis(x, 1)
    for tensor in call.tensors[1:]:
        if tensor.dim() == 1:
            trace.tie(trace.axis(tensor, 0), channels, _norm_reason(trace, x))
    if len(call.tensors) > 1:
        factor = 2 * x.numel() / x.shape[1]
        trace.charge('norm', channels, channels[:0], factor)
    if call.argument('training', False):  # statistics of this very batch
        _freeze_mixed(trace, call, x)
    trace.set(call, trace.shadow(x).strands, call.outputs[0])


def group_norm(trace: Tracer, call: Call) -> None:
    """Channels of one normalisation group live together."""
    x = call.tensors[0]
    trace.reads(call, x)
    groups = int(call.argument('group', 1))
    affine = [call.argument('weight'), call.argument('bias')]
    channels = trace.axis(x, 1)
    for tensor in affine:
        if tensor is not None:
            trace.tie(trace.axis(tensor, 0), channels, _norm_reason(trace, x))
    module = trace.stack[-1][1] if trace.stack else None
    if not isinstance(module, nn.GroupNorm) or affine[0] is None:
        reason = (
            f'{trace.where(call)} divides them into a number of groups that '
            'no parameter tells'
        )
        trace.freeze([channels], 'fixed-groups', reason)
    elif groups > 1:
        by_group = channels.reshape(groups, -1)
        trace.tie(by_group, by_group[:, :1], _norm_reason(trace, x))
    else:
        trace.freeze([channels], 'mixed', _mixed(trace, call))
    _freeze_mixed(trace, call, x)
    trace.set(call, trace.shadow(x).strands, call.outputs[0])


def _freeze_mixed(trace: Tracer, call: Call, x: Tensor) -> None:
    """A norm per channel averages what varies along other axes."""
    strands = [s for s in trace.shadow(x).strands if s.shape[1] == 1]
    trace.freeze(strands, 'mixed', _mixed(trace, call))


def layer_norm(trace: Tracer, call: Call) -> None:
    """Normalises over channels: its width stays.

    Where it normalises every head by itself, whole heads may go.
    """
    x, shape = call.args[:2]
    trace.reads(call, x)
    affine = [call.argument('weight'), call.argument('bias')]
    for axis in range(-len(shape), 0):
        reason = _mixed(trace, call)
        strands = trace.shadow(x).along(axis)
        for strand in strands:
            trace.fix(strand, [axis % x.dim()], 'mixed', reason)
        for tensor in affine:
            if tensor is None:
                continue
            if any(len(varying(strand)) > 1 for strand in strands):
                trace.freeze([trace.axis(tensor, axis)], 'mixed', reason)
            else:
                why = _norm_reason(trace, x)
                trace.tie(trace.axis(tensor, axis), trace.axis(x, axis), why)
    trace.set(call, trace.shadow(x).strands, call.outputs[0])


def _norm_reason(trace: Tracer, x: Tensor) -> str:
    return f'normalises {trace.shadow(x).origin}'


def _mixed(trace: Tracer, call: Call) -> str:
    return (
        f'{trace.where(call)} computes one number from all these channels, '
        'so removing some would change the others'
    )


# ------------------------------------------------------------------ reductions
def reduction(trace: Tracer, call: Call) -> None:
    """Sum, mean, maximum ... over axes; channels that are reduced stay.

    Of channels that an axis was split into, whole slices may still go.
    """
    x, out = call.tensors[0], call.outputs[0]
    axes = _reduced_axes(x, call)
    strands = []
    for strand in trace.shadow(x).strands:
        met = [axis for axis in axes if strand.shape[axis] > 1]
        trace.fix(strand, met, 'mixed', _mixed(trace, call))
        for axis in met:
            strand = np.take(strand, [0], axis=axis)
        if out.dim() != x.dim():
            strand = np.squeeze(strand, axis=tuple(axes))
        strands.append(strand)
    trace.set(call, strands)


def _reduced_axes(x: Tensor, call: Call) -> list[int]:
    axes = call.argument('dim')
    if isinstance(axes, int):
        axes = [axes]
    return [axis % x.dim() for axis in axes or range(x.dim())]


def along_axis(trace: Tracer, call: Call) -> None:
    """Softmax, sort, top-k ...: one axis is mixed, the others stay."""
    x, out = call.tensors[0], call.outputs[0]
    axis = int(call.argument('dim', -1)) % max(x.dim(), 1)
    strands = []
    for strand in trace.shadow(x).strands:
        if strand.shape[axis] > 1:
            trace.fix(strand, [axis], 'mixed', _mixed(trace, call))
            if out.shape[axis] != x.shape[axis]:
                strand = np.take(strand, [0], axis=axis)
        strands.append(strand)
    trace.set(call, strands)


# --------------------------------------------------------------------- spatial
def spatial(trace: Tracer, call: Call) -> None:
    """Pooling, padding, resizing: leading axes stay, trailing ones change.

    Sub-pixels of one channel that lie beside each other are tied: what slides
    over them needs all of them.
    """
    x, *others = call.tensors
    name = call.name
    axes = next(x.dim() - n for n in (1, 2, 3) if f'{n}d' in name)
    strands = []
    for strand in trace.shadow(x).strands:
        along = varying(strand)
        if any(axis >= axes for axis in along):
            if axes - 1 not in along:
                reason = f'{trace.where(call)} slides over these channels'
                trace.freeze([strand], 'spatial', reason)
                continue
            strand = on_axis(trace.axis(x, axes - 1), axes - 1, x.dim())
        strands.append(strand)
    for tensor in others:
        reason = f'{trace.where(call)} takes them for positions'
        trace.freeze(trace.shadow(tensor).strands, 'spatial', reason)
    trace.set(call, strands)


def unpool(trace: Tracer, call: Call) -> None:
    """Max unpooling: values and their positions have the same channels."""
    merged: list[Strand] = []
    for tensor in call.tensors:
        for strand in trace.shadow(tensor).strands:
            merged = trace.merge(merged, strand, trace.where(call))
    trace.set(call, merged)


def pooled_regions(trace: Tracer, call: Call) -> None:
    """RoI pooling: a crop of every channel for every region."""
    x, regions = call.args[:2]
    reason = f'{trace.where(call)} takes them for positions'
    trace.freeze(trace.shadow(regions).strands, 'spatial', reason)
    slid = [s for s in trace.shadow(x).strands if s.shape[1] == 1]
    trace.freeze(slid, 'spatial', reason)
    rows = trace.axis(x, 1)
    trace.set(call, [on_axis(rows, 1, x.dim())], call.outputs[0])
