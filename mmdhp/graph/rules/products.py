"""Rules of operators that mix channels: convolutions and products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from ..tracing.operator_call import Call
from ..tracing.strands import Strand, compress, on_axis, volume

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer


# ---------------------------------------------------------------- convolution
def convolution(trace: Tracer, call: Call) -> None:
    """Input channels meet the weight's input axis; its output axis leaves."""
    x, weight, bias = call.args[:3]
    _convolve(trace, call, x, weight, bias)


def deformable_convolution(trace: Tracer, call: Call) -> None:
    """A convolution whose offsets and mask keep their widths."""
    x, weight, offset, mask, bias = call.args[:5]
    reason = f'{trace.where(call)} takes them for positions'
    for tensor in (offset, mask):
        trace.freeze(trace.shadow(tensor).strands, 'spatial', reason)
    blocks = int(call.argument('offset_groups', 1))
    sources = trace.axis(x, 1).reshape(blocks, -1)  # each has its offsets
    trace.tie(sources, sources[:1], trace.where(call))
    _convolve(trace, call, x, weight, bias)


def _convolve(
    trace: Tracer, call: Call, x: Tensor, weight: Tensor, bias: Any
) -> None:
    trace.reads(call, x)
    transposed = bool(call.argument('transposed', False))
    groups = int(call.argument('groups', 1))
    sources = trace.axis(x, 1)
    rows, columns = trace.axis(weight, 0), trace.axis(weight, 1)
    why = f'reads {trace.shadow(x).origin} at {trace.where(call)}'
    if groups > 1:
        axes = _GroupedAxes(sources, rows, columns, groups, transposed)
        produced = _grouped(trace, call, axes, why)
    else:
        inner, produced = (rows, columns) if transposed else (columns, rows)
        trace.tie(inner, sources, why, trace.shadow(x).code)
    if bias is not None:
        trace.tie(trace.axis(bias, 0), produced, 'its bias is fixed')
    trace.freeze(
        [s for s in trace.shadow(x).strands if s.shape[1] == 1],
        'spatial',
        f'{trace.where(call)} slides over an axis that carries channels',
    )
    trace.produce(weight, produced)
    slid = x if transposed else call.out
    positions = slid.numel() / slid.shape[1]
    factor = volume(weight.shape[2:]) * positions
    trace.charge('weight', rows, columns, factor)
    trace.set(call, [on_axis(produced, 1, call.out.dim())])


def whole_groups(groups: int, per_group: int) -> bool:
    """Whether a grouped conv loses whole groups rather than positions.

    Args:
        groups (int): Number of groups.
        per_group (int): Input channels of one group.
    """
    return groups >= per_group


@dataclass(frozen=True)
class _GroupedAxes:
    """Atoms of a grouped conv's input and of both axes of its weight."""

    sources: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    groups: int
    transposed: bool

    @property
    def outputs(self) -> np.ndarray:
        """Atoms of the output axis, position by position in each group."""
        if self.transposed:
            return np.tile(self.columns, self.groups)
        return self.rows


def _grouped(
    trace: Tracer, call: Call, axes: _GroupedAxes, why: str
) -> np.ndarray:
    """Tie the axes of a grouped conv; return the atoms of its output."""
    inputs = axes.sources.reshape(axes.groups, -1)
    split = axes.rows.reshape(axes.groups, -1)  # outputs, inputs if transposed
    if not whole_groups(axes.groups, inputs.shape[1]):
        inner = split[:1] if axes.transposed else axes.columns[None]
        trace.tie(inputs, inner, why)
        trace.tie(split, split[:1], why)
        return axes.outputs
    trace.tie(inputs, split[:, :1], why)
    trace.tie(split, split[:, :1], why)
    reason = f'{trace.where(call)} is grouped; whole groups are pruned'
    trace.freeze([axes.columns], 'inside-group', reason)
    module = trace.stack[-1][1] if trace.stack else None
    if not isinstance(module, _ConvNd):
        reason = f'{trace.where(call)} is called with a fixed number of groups'
        trace.freeze([split], 'fixed-groups', reason)
    if axes.transposed:
        return split[:, 0].repeat(len(axes.columns))
    return axes.rows


# -------------------------------------------------------------------- products
def linear(trace: Tracer, call: Call) -> None:
    """``x @ weight.T + bias`` with ``weight`` of shape (n, c)."""
    x, weight = call.args[:2]
    bias = call.argument('bias')
    _product(trace, call, _Factors(x, weight, -1, bias))


def matrix_product(trace: Tracer, call: Call) -> None:
    """``a @ b`` of two matrices, or of two batches of matrices."""
    _product(trace, call, _Factors(*call.args[:2]))


def vector_product(trace: Tracer, call: Call) -> None:
    """``matrix @ v`` and ``u · v`` of weights, as in spectral norms.

    Removed positions are zeros in both, so the sum does not miss them.
    """
    a, b = call.args[:2]
    if not (trace.is_weight(a) and trace.is_weight(b)):
        raise ValueError('one of its factors is a feature map')
    where = trace.where(call)
    trace.tie(trace.axis(a, -1), trace.axis(b, 0), f'is fixed at {where}')
    rows = [on_axis(trace.axis(a, 0), 0, 1)] if a.dim() > 1 else []
    trace.set(call, rows)


def affine_product(trace: Tracer, call: Call) -> None:
    """``bias + a @ b``."""
    bias, a, b = call.args[:3]
    _product(trace, call, _Factors(a, b, bias=bias))


@dataclass(frozen=True)
class _Factors:
    """``a @ b (+ bias)``; ``b_axis`` is the axis of b that is contracted."""

    a: Tensor
    b: Tensor
    b_axis: int = -2
    bias: Any = None


def _product(trace: Tracer, call: Call, factors: _Factors) -> None:
    a, b, out = factors.a, factors.b, call.outputs[0]
    where = trace.where(call)
    if trace.is_weight(b) and _is_matrix(b) and trace.shadow(b).strands:
        trace.reads(call, a)
        _weight_product(trace, (a, -1), (b, factors.b_axis), where)
    elif trace.is_weight(a) and _is_matrix(a) and trace.shadow(a).strands:
        trace.reads(call, b)
        _weight_product(trace, (b, factors.b_axis), (a, -1), where)
    else:
        _tie_contracted(trace, (a, -1), (b, factors.b_axis), where)
    strands: list[Strand] = []
    for tensor, axis, place in ((a, -1, -1), (b, factors.b_axis, -2)):
        for strand in _kept(trace, tensor, axis, place, out):
            strands = trace.merge(strands, strand, where)
    if isinstance(factors.bias, Tensor):
        for strand in trace.aligned(factors.bias, out.dim()):
            strands = trace.merge(strands, strand, where)
    trace.set(call, strands)


def _is_matrix(tensor: Tensor) -> bool:
    return volume(tensor.shape[:-2]) == 1


def _weight_product(
    trace: Tracer, read: tuple[Tensor, int], by: tuple[Tensor, int], where: str
) -> None:
    """A linear layer: producer, consumer and cost.

    Args:
        trace (Tracer): The tracer.
        read (tuple): Feature map and its contracted axis.
        by (tuple): Weight and its contracted axis.
        where (str): Module and operator.
    """
    (x, x_axis), (weight, axis) = read, by
    inner, outer = trace.axis(weight, axis), trace.axis(weight, -3 - axis)
    why = f'reads {trace.shadow(x).origin} at {where}'
    trace.tie(inner, trace.axis(x, x_axis), why, trace.shadow(x).code)
    trace.produce(weight, outer)
    trace.charge('weight', outer, inner, x.numel() / x.shape[x_axis])


def _tie_contracted(
    trace: Tracer, a: tuple[Tensor, int], b: tuple[Tensor, int], where: str
) -> None:
    """Two feature maps meet: tie along the contracted axis.

    All channels of one head are tied, because products of this kind are
    scaled by their number; strands that also vary along batch axes (heads)
    keep varying there.
    """
    left, right = _contracted(trace, *a), _contracted(trace, *b)
    if bool(left) != bool(right):
        reason = f'is contracted with a fixed tensor at {where}'
        trace.freeze(left + right, 'fixed-width', reason)
    elif left:
        _tie_heads(trace, left + right, where)


def _contracted(trace: Tracer, tensor: Tensor, axis: int) -> list[Strand]:
    """Strands along the contracted axis, arranged as (batch, the rest)."""
    strands = []
    for strand in trace.shadow(tensor).along(axis):
        moved = np.moveaxis(strand, axis, -1)
        strands.append(moved.reshape(volume(moved.shape[:-2]), -1))
    return strands


def _tie_heads(trace: Tracer, strands: Sequence[Strand], where: str) -> None:
    """Tie every row; tie the rows of one strand to those of the others."""
    first = strands[0]
    for strand in strands:
        trace.tie(strand, strand[:, :1], where)
        trace.tie(strand[:, :1], first[:, :1], where)


def _kept(
    trace: Tracer, tensor: Tensor, axis: int, place: int, out: Tensor
) -> list[Strand]:
    """Strands of one factor as they appear in the product.

    Args:
        trace (Tracer): The tracer.
        tensor (Tensor): The factor.
        axis (int): Its contracted axis, which goes.
        place (int): Axis of the product that takes its place, of size 1.
        out (Tensor): The product.
    """
    lead = (1,) * (out.dim() - tensor.dim())
    kept = []
    for strand in trace.shadow(tensor).strands:
        moved = np.moveaxis(np.take(strand, [0], axis=axis), axis, place)
        kept.append(compress(moved.reshape(lead + moved.shape)))
    return [strand for strand in kept if strand.size > 1]


def attention(trace: Tracer, call: Call) -> None:
    """Scaled dot-product attention, query/key/value (..., heads, L, d).

    A head is one unit: query, key and value channels of a head are tied.
    """
    query, key, value = call.args[:3]
    where = trace.where(call)
    _tie_contracted(trace, (query, -1), (key, -1), where)
    heads = _contracted(trace, query, -1) + _contracted(trace, value, -1)
    if heads:
        _tie_heads(trace, heads, where)
    for tensor in call.tensors[3:]:  # masks and biases
        reason = f'is added to the scores at {where}'
        trace.freeze(trace.shadow(tensor).strands, 'fixed-width', reason)
    trace.set(call, trace.shadow(value).strands, call.outputs[0])
