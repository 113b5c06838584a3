"""What each operator does to channels: one table, operator → rule.

A rule reads the shadows of a call's inputs, states which channels meet
(``trace.tie``), which must stay (``trace.freeze``), and gives the output its
strands (``trace.set``). A new operator is one line in ``RULES`` and, at most,
one small function. An operator without a rule freezes what flows into it.
"""
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .shadow import (
    NO_ATOM,
    Call,
    Grid,
    Strand,
    compress,
    reshape_strand,
    split_axis,
    volume,
)

if TYPE_CHECKING:
    from .tracer import Tracer

Rule = Callable[['Tracer', Call], None]

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


def find_rule(call: Call) -> Optional[Rule]:
    """Rule of an operator: by name, then by PyTorch's pointwise tag."""
    name = call.name.rpartition('::')[2]
    rule = RULES.get(name) or RULES.get(name.rstrip('_'))
    if rule is None and torch.Tag.pointwise in call.func.tags:
        return elementwise
    return rule


# --------------------------------------------------------------- element-wise
def elementwise(trace: 'Tracer', call: Call) -> None:
    """Channels at the same position meet; fixed widths freeze."""
    out = _first_tensor(call.out)
    operands = [_aligned(trace, t, out.dim()) for t in call.tensors]
    merged: List[Strand] = []
    for strands, _ in operands:
        for strand in strands:
            merged = _merge(trace, merged, strand, trace.where(call))
    for strands, shape in operands:
        own = {a for s in strands for a in _varying(s)}
        for strand in merged:
            met = [a for a in _varying(strand) if shape[a] > 1]
            if met and not own.intersection(met):
                origin = 'a fixed tensor'
                reason = f'meets {origin} of the same width at '
                trace.freeze([strand], 'fixed-width', reason + trace.where(call))
    trace.set(call, merged)
    module = trace.stack[-1][1] if trace.stack else None
    if isinstance(module, ACTIVATIONS) and out.dim() > 1:
        rows = trace.axis(out, 1)
        trace.charge('act', rows, rows[:0], out.numel() / max(len(rows), 1))


def _aligned(trace: 'Tracer', tensor: Tensor, ndim: int) -> Any:
    """Strands and shape, left-padded with axes of size 1."""
    lead = (1,) * (ndim - tensor.dim())
    strands = trace.shadow(tensor).strands
    return (
        [s.reshape(lead + s.shape) for s in strands],
        lead + tuple(tensor.shape),
    )


def _varying(strand: Strand) -> List[int]:
    return [axis for axis, size in enumerate(strand.shape) if size > 1]


def _merge(
    trace: 'Tracer', merged: List[Strand], new: Strand, where: str
) -> List[Strand]:
    """Tie ``new`` to every strand that varies along a common axis."""
    apart = []
    for strand in merged:
        if not set(_varying(strand)) & set(_varying(new)):
            apart.append(strand)
            continue
        trace.tie(strand, new, f'meets a fixed width at {where}')
        new = _joined(strand, new)
    return apart + [new]


def _joined(first: Strand, second: Strand) -> Strand:
    """The strand that stands for two tied ones: the smaller, if it can."""
    a, b = set(_varying(first)), set(_varying(second))
    if a <= b and (first != NO_ATOM).all():
        return first
    if b <= a and (second != NO_ATOM).all():
        return second
    first, second = np.broadcast_arrays(first, second)
    return np.where(first == NO_ATOM, second, first)


# ---------------------------------------------------------------- convolution
def convolution(trace: 'Tracer', call: Call) -> None:
    """Input channels meet the weight's input axis; its output axis leaves."""
    x, weight, bias = (call.argument(i, n) for i, n in _CONV_ARGUMENTS)
    transposed = bool(call.argument(6, 'transposed', False))
    groups = int(call.argument(8, 'groups', 1))
    sources = trace.axis(x, 1)
    rows, columns = trace.axis(weight, 0), trace.axis(weight, 1)
    inner, outer = (rows, columns) if transposed else (columns, rows)
    why = f'reads {trace.shadow(x).origin} at {trace.where(call)}'
    if groups == 1:
        trace.tie(inner, sources, why)
        produced = outer
    else:
        produced = _grouped(
            trace, sources, rows, columns, groups, transposed, why
        )
    if bias is not None:
        trace.tie(trace.axis(bias, 0), produced, 'its bias is fixed')
    trace.freeze(
        [s for s in trace.shadow(x).strands if s.shape[1] == 1],
        'spatial',
        f'{trace.where(call)} slides over an axis that carries channels',
    )
    out = call.out
    trace.producers.append((_module_name(trace), produced))
    positions = x if transposed else out
    trace.charge(
        'weight',
        rows,
        columns,
        volume(weight.shape[2:]) * positions.numel() / positions.shape[1],
    )
    trace.set(call, [_on_axis(produced, 1, out.dim())], out)


_CONV_ARGUMENTS = ((0, 'input'), (1, 'weight'), (2, 'bias'))


def whole_groups(groups: int, per_group: int) -> bool:
    """Whether a grouped conv loses whole groups rather than positions.

    Args:
        groups (int): Number of groups.
        per_group (int): Input channels of one group.
    """
    return groups >= per_group


def _grouped(
    trace: 'Tracer',
    sources: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    groups: int,
    transposed: bool,
    why: str,
) -> np.ndarray:
    """Tie the axes of a grouped conv; return the atoms of its output."""
    split = rows.reshape(groups, -1)  # input (transposed) or output by group
    inputs = sources.reshape(groups, -1)
    per_group = inputs.shape[1]
    outputs = np.tile(columns, groups) if transposed else rows
    if whole_groups(groups, per_group):
        trace.tie(inputs, split[:, :1], why)
        trace.tie(split, split[:, :1], why)
        trace.freeze(
            [columns],
            'inside-group',
            'a position inside the groups of a grouped conv; whole groups '
            'are pruned',
        )
        outputs = split.repeat(len(outputs) // groups, axis=0).ravel()
        return outputs[: len(columns) * groups] if transposed else rows
    inner = split[:1] if transposed else columns[None]
    trace.tie(inputs, inner, why)
    trace.tie(split, split[:1], why)
    return outputs


# -------------------------------------------------------------------- products
def linear(trace: 'Tracer', call: Call) -> None:
    """``x @ weight.T + bias`` with ``weight`` of shape (n, c)."""
    x, weight, bias = (call.argument(i, n) for i, n in _CONV_ARGUMENTS)
    _product(trace, call, x, weight, -1, 1, 0, bias)


def matrix_product(trace: 'Tracer', call: Call) -> None:
    """``a @ b`` of two matrices, or of two batches of matrices."""
    _product(trace, call, call.args[0], call.args[1], -1, -2, -1, None)


def affine_product(trace: 'Tracer', call: Call) -> None:
    """``bias + a @ b``."""
    bias, a, b = call.args[:3]
    _product(trace, call, a, b, -1, -2, -1, bias)


def _product(
    trace: 'Tracer',
    call: Call,
    a: Tensor,
    b: Tensor,
    a_axis: int,
    b_axis: int,
    b_free: int,
    bias: Optional[Tensor],
) -> None:
    where = trace.where(call)
    out = _first_tensor(call.out)
    if trace.is_weight(a) and not trace.is_weight(b) and a.dim() == 2:
        # `weight @ x`: the same product with the roles exchanged
        _weight_product(trace, b, a, b_axis, -1, -2, where)
    elif trace.is_weight(b) and b.dim() == 2:
        _weight_product(trace, a, b, a_axis, b_axis, b_free, where)
    else:
        _tie_contracted(trace, a, b, a_axis, b_axis, where)
    strands = _kept(a, trace, a_axis, out, last=False)
    for strand in _kept(b, trace, b_axis, out, last=True, free=b_free):
        strands = _merge(trace, strands, strand, where)
    if bias is not None and isinstance(bias, Tensor):
        for strand in _aligned(trace, bias, out.dim())[0]:
            strands = _merge(trace, strands, strand, where)
    trace.set(call, strands, out)


def _weight_product(
    trace: 'Tracer',
    x: Tensor,
    weight: Tensor,
    x_axis: int,
    inner_axis: int,
    outer_axis: int,
    where: str,
) -> None:
    """A linear layer: producer, consumer and cost."""
    inner = trace.axis(weight, inner_axis)
    outer = trace.axis(weight, outer_axis)
    why = f'reads {trace.shadow(x).origin} at {where}'
    trace.tie(inner, trace.axis(x, x_axis), why)
    trace.producers.append((_module_name(trace), outer))
    trace.charge('weight', outer, inner, x.numel() / x.shape[x_axis])


def _tie_contracted(
    trace: 'Tracer', a: Tensor, b: Tensor, a_axis: int, b_axis: int, where: str
) -> None:
    """Two feature maps meet: tie along the contracted axis.

    Strands that also vary along batch axes (attention heads) keep varying
    there: channels of one head are tied, heads stay apart.
    """
    left = _contracted(trace, a, a_axis)
    right = _contracted(trace, b, b_axis)
    if not left and not right:
        return
    if not left or not right:
        reason = f'is contracted with a fixed tensor at {where}'
        trace.freeze(left + right, 'fixed-width', reason)
        return
    heads_left = [s.reshape(s.shape[0], -1) for s in left]
    heads_right = [s.reshape(s.shape[0], -1) for s in right]
    anchor = heads_left[0]
    for strand in heads_left + heads_right:
        trace.tie(strand, strand[:, :1], where)
        if len(strand) == len(anchor) or 1 in (len(strand), len(anchor)):
            trace.tie(strand[:, :1], anchor[:, :1], where)


def _contracted(trace: 'Tracer', tensor: Tensor, axis: int) -> List[Strand]:
    """Strands along the contracted axis, batch first, other axes tied."""
    strands = []
    for strand in trace.shadow(tensor).along(axis):
        moved = np.moveaxis(strand, axis, -1)
        strands.append(moved.reshape(volume(moved.shape[:-2]), -1))
    return strands


def _kept(
    tensor: Tensor,
    trace: 'Tracer',
    axis: int,
    out: Tensor,
    last: bool,
    free: int = -2,
) -> List[Strand]:
    """Strands of one factor as they appear in the product."""
    axis %= tensor.dim()
    free %= tensor.dim()
    kept = []
    for strand in trace.shadow(tensor).strands:
        strand = np.take(strand, [0], axis=axis)
        if last and tensor.dim() == 2 and out.dim() >= 1:
            flat = strand.reshape(-1)
            kept.append(_on_axis(flat, out.dim() - 1, out.dim()))
        else:
            moved = np.moveaxis(strand, axis, -1 if not last else -2)
            lead = (1,) * (out.dim() - moved.ndim)
            kept.append(moved.reshape(lead + moved.shape))
    return [compress(s) for s in kept if s.size > 1]


def attention(trace: 'Tracer', call: Call) -> None:
    """Scaled dot-product attention, query/key/value (..., heads, L, d).

    A head is one unit: query, key and value channels of a head are tied.
    """
    query, key, value = call.args[:3]
    where = trace.where(call)
    _tie_contracted(trace, query, key, -1, -1, where)
    heads = []
    for tensor in (query, value):
        for strand in trace.shadow(tensor).along(-1):
            flat = strand.reshape(volume(strand.shape[:-2]), -1)
            trace.tie(flat, flat[:, :1], where)
            heads.append(flat[:, :1])
    for first, second in zip(heads, heads[1:]):
        trace.tie(first, second, where)
    trace.set(call, trace.shadow(value).strands)


# ----------------------------------------------------------------------- norms
def batch_norm(trace: 'Tracer', call: Call) -> None:
    """Every per-channel tensor meets axis 1."""
    x = call.tensors[0]
    channels = trace.axis(x, 1)
    for tensor in call.tensors[1:]:
        if tensor.dim() == 1:
            trace.tie(trace.axis(tensor, 0), channels, _norm_reason(trace, x))
    if len(call.tensors) > 1:
        trace.charge('norm', channels, channels[:0], 2 * x.numel() / x.shape[1])
    trace.set(call, trace.shadow(x).strands, _first_tensor(call.out))


def group_norm(trace: 'Tracer', call: Call) -> None:
    """Channels of one normalisation group live together."""
    x, weight, bias = (call.argument(i, n) for i, n in _CONV_ARGUMENTS)
    groups = int(call.argument(6, 'group', 1))
    channels = trace.axis(x, 1)
    for tensor in (weight, bias):
        if tensor is not None:
            trace.tie(trace.axis(tensor, 0), channels, _norm_reason(trace, x))
    if groups > 1:
        by_group = channels.reshape(groups, -1)
        trace.tie(by_group, by_group[:, :1], _norm_reason(trace, x))
    else:
        trace.freeze([channels], 'mixed', _mixed(trace, call))
    trace.set(call, trace.shadow(x).strands, _first_tensor(call.out))


def layer_norm(trace: 'Tracer', call: Call) -> None:
    """Normalises over channels: its width stays."""
    x, shape = call.args[:2]
    axes = range(-len(shape), 0)
    for tensor in (call.argument(2, 'weight'), call.argument(3, 'bias')):
        if tensor is not None:
            for axis in axes:
                atoms = trace.axis(tensor, axis)
                why = _norm_reason(trace, x)
                trace.tie(atoms, trace.axis(x, axis), why)
    for axis in axes:
        strands = trace.shadow(x).along(axis)
        trace.freeze(strands, 'mixed', _mixed(trace, call))
    trace.set(call, trace.shadow(x).strands, _first_tensor(call.out))


def _norm_reason(trace: 'Tracer', x: Tensor) -> str:
    return f'normalises {trace.shadow(x).origin}'


def _mixed(trace: 'Tracer', call: Call) -> str:
    return (
        f'{trace.where(call)} computes one number from all these channels, '
        'so removing some would change the others'
    )


# ------------------------------------------------------------------ reductions
def reduction(trace: 'Tracer', call: Call) -> None:
    """Sum, mean, maximum ... over axes; channels that are reduced stay."""
    x = call.tensors[0]
    out = _first_tensor(call.out)
    axes = _reduced_axes(x, out, call)
    strands = []
    for strand in trace.shadow(x).strands:
        if any(strand.shape[a] > 1 for a in axes):
            trace.freeze([strand], 'mixed', _mixed(trace, call))
        elif out.dim() == x.dim():
            strands.append(strand)
        else:
            strands.append(np.squeeze(strand, axis=tuple(axes)))
    for tensor in _tensors(call.out):
        trace.set(call, strands, tensor)


def _reduced_axes(x: Tensor, out: Tensor, call: Call) -> List[int]:
    dims = call.argument(1, 'dim')
    if dims is None or (isinstance(dims, (list, tuple)) and not dims):
        return list(range(x.dim()))
    if isinstance(dims, int):
        dims = [dims]
    return [d % x.dim() for d in dims]


def softmax(trace: 'Tracer', call: Call) -> None:
    """Same shape, but one axis is mixed."""
    x, axis = call.args[:2]
    mixed = trace.shadow(x).along(int(axis))
    trace.freeze(mixed, 'mixed', _mixed(trace, call))
    trace.set(call, trace.shadow(x).strands)


# --------------------------------------------------------------------- spatial
def spatial(trace: 'Tracer', call: Call) -> None:
    """Pooling, padding, resizing: leading axes stay, trailing ones change."""
    x = call.args[0]
    for out in _tensors(call.out):
        strands = []
        for strand in trace.shadow(x).strands:
            changed = any(
                size > 1 and x.shape[a] != out.shape[a]
                for a, size in enumerate(strand.shape)
            )
            if changed or any(size > 1 for size in strand.shape[2:]):
                reason = f'{trace.where(call)} slides over it'
                trace.freeze([strand], 'spatial', reason)
            else:
                strands.append(strand)
        trace.set(call, strands, out)


def pad(trace: 'Tracer', call: Call) -> None:
    """Zero padding; padded channels carry no atom."""
    x, widths = call.args[:2]
    pairs = list(zip(widths[::2], widths[1::2]))
    pairs += [(0, 0)] * (x.dim() - len(pairs))
    pairs.reverse()
    strands = []
    for strand in trace.shadow(x).strands:
        here = [p if s > 1 else (0, 0) for p, s in zip(pairs, strand.shape)]
        if min(min(p) for p in here) < 0:
            trace.freeze([strand], 'cropped', f'cropped at {trace.where(call)}')
            continue
        strands.append(np.pad(strand, here, constant_values=NO_ATOM))
    trace.set(call, strands)


def pixel_shuffle(trace: 'Tracer', call: Call) -> None:
    """r² consecutive channels become one; they live and die together."""
    x, factor = call.args[:2]
    strands = []
    for strand in trace.shadow(x).along(-3):
        rows = trace.axis(x, -3).reshape(-1, factor * factor)
        trace.tie(rows, rows[:, :1], trace.where(call))
        strands.append(_on_axis(rows[:, 0], x.dim() - 3, x.dim()))
        break
    trace.set(call, strands)


def pixel_unshuffle(trace: 'Tracer', call: Call) -> None:
    """One channel becomes r² consecutive ones."""
    x, factor = call.args[:2]
    strands = []
    if trace.shadow(x).along(-3):
        rows = trace.axis(x, -3).repeat(factor * factor)
        strands.append(_on_axis(rows, x.dim() - 3, x.dim()))
    trace.set(call, strands)


def channel_shuffle(trace: 'Tracer', call: Call) -> None:
    """``(g, c/g)`` transposed: as its view-transpose-view spelling."""
    x, groups = call.args[:2]
    strands = []
    if trace.shadow(x).along(1):
        rows = trace.axis(x, 1).reshape(groups, -1)
        _add_grid(trace, rows, (1,))
        strands.append(_on_axis(rows.T.ravel(), 1, x.dim()))
    trace.set(call, strands)


# ----------------------------------------------------------------------- views
def identity(trace: 'Tracer', call: Call) -> None:
    """The same values: same strands."""
    trace.set(call, trace.shadow(call.tensors[0]).strands)


def nothing(trace: 'Tracer', call: Call) -> None:
    """A new tensor whose values do not depend on channels."""
    for out in _tensors(call.out):
        trace.set(call, [], out)


def view(trace: 'Tracer', call: Call) -> None:
    """Reshape; an axis split by the code must stay rectangular."""
    x, out = call.args[0], _first_tensor(call.out)
    old, new = tuple(x.shape), tuple(out.shape)
    strands = []
    for strand in trace.shadow(x).strands:
        strand_new = reshape_strand(strand, old, new)
        axes = split_axis(strand, old, new)
        if axes is not None:
            _add_grid(trace, strand_new, axes)
        strands.append(strand_new)
    trace.set(call, strands)


def _add_grid(
    trace: 'Tracer', strand: Strand, candidates: Sequence[int]
) -> None:
    trace.grids.append(Grid(strand, tuple(candidates)))


def permute(trace: 'Tracer', call: Call) -> None:
    """Axes change places."""
    x, axes = call.args[:2]
    strands = trace.shadow(x).strands
    trace.set(call, [s.transpose([a % x.dim() for a in axes]) for s in strands])


def transpose(trace: 'Tracer', call: Call) -> None:
    """Two axes change places."""
    x = call.args[0]
    first, second = call.args[1:3] if len(call.args) > 2 else (0, -1)
    if x.dim() < 2:
        identity(trace, call)
        return
    strands = trace.shadow(x).strands
    trace.set(call, [np.swapaxes(s, first, second) for s in strands])


def expand(trace: 'Tracer', call: Call) -> None:
    """Broadcast to a larger shape."""
    out = _first_tensor(call.out)
    trace.set(call, _aligned(trace, call.args[0], out.dim())[0])


def unsqueeze(trace: 'Tracer', call: Call) -> None:
    """A new axis of size 1."""
    x, axis = call.args[:2]
    axis %= x.dim() + 1
    trace.set(
        call, [np.expand_dims(s, axis) for s in trace.shadow(x).strands]
    )


def squeeze(trace: 'Tracer', call: Call) -> None:
    """Axes of size 1 go."""
    out = _first_tensor(call.out)
    x = call.args[0]
    shape = tuple(out.shape)
    trace.set(
        call,
        [
            reshape_strand(s, tuple(x.shape), shape)
            for s in trace.shadow(x).strands
        ],
    )


def repeat(trace: 'Tracer', call: Call) -> None:
    """Copies laid out one after the other."""
    x, counts = call.args[:2]
    strands = []
    for strand in _aligned(trace, x, len(counts))[0]:
        tiles = [n if s > 1 else 1 for n, s in zip(counts, strand.shape)]
        strands.append(np.tile(strand, tiles))
    trace.set(call, strands)


def slice_axis(trace: 'Tracer', call: Call) -> None:
    """A range of positions; a partial range of channels stays as it is."""
    x = call.args[0]
    axis = int(call.argument(1, 'dim', 0)) % x.dim()
    start, stop = call.argument(2, 'start'), call.argument(3, 'end')
    step = call.argument(4, 'step', 1)
    cut = slice(start, stop, step)
    whole = range(x.shape[axis])[cut] == range(x.shape[axis])
    strands = []
    for strand in trace.shadow(x).strands:
        if strand.shape[axis] == 1 or whole:
            strands.append(strand)
            continue
        reason = f'sliced at fixed positions by {trace.where(call)}'
        trace.freeze([strand], 'sliced', reason)
        index = [slice(None)] * strand.ndim
        index[axis] = cut
        strands.append(strand[tuple(index)])
    trace.set(call, strands)


def select(trace: 'Tracer', call: Call) -> None:
    """One position of an axis."""
    x, axis, index = call.args[:3]
    axis %= x.dim()
    strands = []
    for strand in trace.shadow(x).strands:
        if strand.shape[axis] > 1:
            _constrain_pieces(trace, strand, axis, call)
            strands.append(np.take(strand, index, axis=axis))
        else:
            strands.append(np.take(strand, 0, axis=axis))
    trace.set(call, strands)


def unbind(trace: 'Tracer', call: Call) -> None:
    """All positions of an axis, apart."""
    x = call.args[0]
    axis = int(call.argument(1, 'dim', 0)) % x.dim()
    for strand in trace.shadow(x).along(axis):
        _constrain_pieces(trace, strand, axis, call)
    for position, out in enumerate(call.out):
        strands = [
            np.take(s, position if s.shape[axis] > 1 else 0, axis=axis)
            for s in trace.shadow(x).strands
        ]
        trace.set(call, strands, out)


def _constrain_pieces(
    trace: 'Tracer', strand: Strand, axis: int, call: Call
) -> None:
    """The axis keeps its size; channels may go along another one only."""
    others = tuple(a for a in _varying(strand) if a != axis)
    if others:
        _add_grid(trace, strand, others)
    else:
        reason = f'taken apart at fixed positions by {trace.where(call)}'
        trace.freeze([strand], 'sliced', reason)


def split(trace: 'Tracer', call: Call) -> None:
    """Equal pieces lose the same positions; unequal ones stay."""
    x = call.args[0]
    axis = int(call.argument(2, 'dim', 0)) % x.dim()
    sizes = [piece.shape[axis] for piece in call.out]
    starts = np.cumsum([0] + sizes)
    for strand in trace.shadow(x).along(axis):
        if len(set(sizes)) == 1 and sizes[0] > 1:
            shape = list(strand.shape)
            shape[axis : axis + 1] = [len(sizes), sizes[0]]
            _add_grid(trace, strand.reshape(shape), (axis + 1,))
        elif len(sizes) > 1:
            reason = f'split at fixed positions by {trace.where(call)}'
            trace.freeze([strand], 'sliced', reason)
    for start, stop, piece in zip(starts, starts[1:], call.out):
        strands = [
            np.take(s, range(start, stop), axis=axis)
            if s.shape[axis] > 1
            else s
            for s in trace.shadow(x).strands
        ]
        trace.set(call, strands, piece)


def concatenate(trace: 'Tracer', call: Call) -> None:
    """Pieces one after the other; a piece without channels stays fixed."""
    pieces = [t for t in call.args[0] if t.numel()]
    axis = int(call.argument(1, 'dim', 0)) % call.out.dim()
    counts = {len(trace.shadow(t).strands) for t in pieces}
    trace.set(call, _joined_pieces(trace, pieces, axis, max(counts), call))


def _joined_pieces(
    trace: 'Tracer',
    pieces: Sequence[Tensor],
    axis: int,
    count: int,
    call: Call,
) -> List[Strand]:
    joined = []
    for number in range(count):
        parts = []
        for tensor in pieces:
            strands = trace.shadow(tensor).strands
            if number < len(strands):
                parts.append(strands[number])
            else:
                parts.append(np.full((1,) * tensor.dim(), NO_ATOM))
        varies = any(p.shape[axis] > 1 for p in parts)
        ragged = len({tuple(_varying(p)) for p in parts if p.size > 1}) > 1
        if ragged and count > 1:
            reason = f'joined from unlike pieces by {trace.where(call)}'
            trace.freeze(parts, 'joined', reason)
            continue
        shape = np.broadcast_shapes(
            *(p.shape[:axis] + (1,) + p.shape[axis + 1 :] for p in parts)
        )
        same = all(np.array_equal(p, parts[0]) for p in parts)
        if same and not varies:
            joined.append(parts[0])
            continue
        full = [
            np.broadcast_to(
                p, shape[:axis] + (t.shape[axis],) + shape[axis + 1 :]
            )
            for p, t in zip(parts, pieces)
        ]
        joined.append(compress(np.concatenate(full, axis=axis)))
    return joined


def stack(trace: 'Tracer', call: Call) -> None:
    """Concatenation along a new axis."""
    pieces = list(call.args[0])
    axis = int(call.argument(1, 'dim', 0)) % call.out.dim()
    strands = [trace.shadow(t).strands for t in pieces]
    joined = []
    for parts in zip(*strands):
        shape = np.broadcast_shapes(*(p.shape for p in parts))
        full = [np.broadcast_to(p, shape) for p in parts]
        joined.append(compress(np.stack(full, axis=axis)))
    for rest in strands:
        if len(rest) != len(joined):
            reason = f'joined from unlike pieces by {trace.where(call)}'
            trace.freeze(rest, 'joined', reason)
    trace.set(call, joined)


def reorder(trace: 'Tracer', call: Call) -> None:
    """Flip or roll: the permutation acts on a strand as on its tensor."""
    x, out = call.args[0], call.out
    strands = []
    for strand in trace.shadow(x).strands:
        if call.name == 'aten::flip':
            axes = [a % x.dim() for a in call.args[1]]
            strands.append(np.flip(strand, axes))
        else:
            axes = [a % x.dim() for a in call.argument(2, 'dims', [])]
            if not axes:
                trace.freeze([strand], 'sliced', trace.where(call))
                continue
            strands.append(np.roll(strand, call.args[1], axes))
    trace.set(call, strands, out)


def embedding(trace: 'Tracer', call: Call) -> None:
    """Rows of a table: its columns are the channels."""
    table, index = call.args[:2]
    columns = trace.axis(table, 1)
    trace.set(call, [_on_axis(columns, index.dim(), index.dim() + 1)])


# --------------------------------------------------------------------- helpers
def _tensors(tree: Any) -> List[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [t for t in tree if isinstance(t, Tensor)]


def _first_tensor(tree: Any) -> Tensor:
    return _tensors(tree)[0]


def _on_axis(atoms: np.ndarray, axis: int, ndim: int) -> Strand:
    return atoms.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _module_name(trace: 'Tracer') -> str:
    return trace.stack[-1][0] if trace.stack else ''


def _table(groups: Dict[Rule, str]) -> Dict[str, Rule]:
    return {name: rule for rule, names in groups.items() for name in names.split()}


RULES: Dict[str, Rule] = _table(
    {
        convolution: 'convolution _convolution conv1d conv2d conv3d',
        linear: 'linear',
        matrix_product: 'mm bmm matmul',
        affine_product: 'addmm baddbmm',
        attention: (
            'scaled_dot_product_attention '
            '_scaled_dot_product_flash_attention '
            '_scaled_dot_product_flash_attention_for_cpu '
            '_scaled_dot_product_efficient_attention '
            '_scaled_dot_product_attention_math'
        ),
        batch_norm: (
            'batch_norm native_batch_norm _native_batch_norm_legit '
            '_native_batch_norm_legit_no_training cudnn_batch_norm '
            '_batch_norm_with_update _batch_norm_no_update'
        ),
        group_norm: 'native_group_norm',
        layer_norm: 'native_layer_norm',
        reduction: (
            'mean sum amax amin var std var_mean std_mean max min prod norm '
            'linalg_vector_norm argmax argmin any all logsumexp'
        ),
        softmax: '_softmax _log_softmax softmax log_softmax cumsum sort',
        spatial: (
            'max_pool2d_with_indices max_pool3d_with_indices max_pool2d '
            'avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d '
            '_adaptive_avg_pool3d adaptive_avg_pool2d adaptive_avg_pool1d '
            'adaptive_max_pool2d adaptive_max_pool3d reflection_pad1d '
            'reflection_pad2d reflection_pad3d replication_pad1d '
            'replication_pad2d replication_pad3d upsample_nearest1d '
            'upsample_nearest2d upsample_nearest3d upsample_bilinear2d '
            'upsample_bicubic2d upsample_linear1d upsample_trilinear3d '
            '_upsample_nearest_exact2d _upsample_bilinear2d_aa '
            '_upsample_bicubic2d_aa'
        ),
        pad: 'constant_pad_nd',
        pixel_shuffle: 'pixel_shuffle',
        pixel_unshuffle: 'pixel_unshuffle',
        channel_shuffle: 'channel_shuffle native_channel_shuffle',
        elementwise: 'copy prelu _prelu_kernel dropout',
        identity: (
            'clone detach alias contiguous _to_copy to lift_fresh '
            'lift_fresh_copy zeros_like ones_like empty_like rand_like '
            'randn_like full_like native_dropout'
        ),
        nothing: (
            'zeros ones empty full arange linspace scalar_tensor eye '
            'new_zeros new_ones new_empty new_full randn rand randperm '
            '_local_scalar_dense meshgrid'
        ),
        view: 'view _unsafe_view reshape _reshape_alias flatten unflatten',
        permute: 'permute',
        transpose: 'transpose t',
        expand: 'expand broadcast_to',
        unsqueeze: 'unsqueeze',
        squeeze: 'squeeze',
        repeat: 'repeat',
        slice_axis: 'slice narrow',
        select: 'select',
        unbind: 'unbind',
        split: 'split split_with_sizes chunk unsafe_split unsafe_chunk',
        concatenate: 'cat concat _unsafe_cat',
        stack: 'stack',
        reorder: 'flip roll',
        embedding: 'embedding',
    }
)
