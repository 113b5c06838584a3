"""Rules of operators that move values: views, pieces, reordering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .shadow import (
    NO_ATOM,
    Call,
    Grid,
    Strand,
    channel_rows,
    compress,
    on_axis,
    reshape_strand,
    split_axes,
    varying,
    volume,
)

if TYPE_CHECKING:
    from .tracer import Tracer


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


# ----------------------------------------------------------------------- apart
def slice_axis(trace: Tracer, call: Call) -> None:
    """A range of positions.

    A part of the channels can be cut where the code takes both ends from
    shapes or attributes; otherwise all of them stay.
    """
    x, out = call.tensors[0], call.outputs[0]
    axis = int(call.argument('dim', 0)) % x.dim()
    cut = slice(
        call.argument('start'), call.argument('end'), call.argument('step', 1)
    )
    strands = []
    for strand in trace.shadow(x).strands:
        if strand.shape[axis] > 1 and out.shape[axis] < x.shape[axis]:
            _note_range(trace, call, strand, axis, cut)
            index = [slice(None)] * strand.ndim
            index[axis] = cut
            strand = strand[tuple(index)]
        strands.append(strand)
    trace.set(call, strands)


def _note_range(
    trace: Tracer, call: Call, strand: Strand, axis: int, cut: slice
) -> None:
    size = strand.shape[axis]
    start, stop, step = cut.indices(size)
    spelled = _spelled_range(call, axis, strand.ndim)
    ends = [(start, spelled.start), (stop, spelled.stop)]
    ends = [(end, value) for end, value in ends if 0 < end < size]
    fixed = step != 1
    for end, value in ends:
        if size % end == 0 and trace.sizes.is_share(value, size):
            _split_evenly(trace, strand, axis, size // end, call)
        else:
            fixed = fixed or not trace.sizes.is_traced(value)
    if fixed:
        reason = f'sliced at fixed positions by {trace.where(call)}'
        trace.freeze([strand], 'sliced', reason)
        return
    for end, value in ends:
        head = np.take(strand, range(end), axis=axis)
        trace.sizes.require(channel_rows(head, axis), value, trace.where(call))


def _spelled_range(call: Call, axis: int, ndim: int) -> slice:
    """The slice as the code spells it; literal zeros where it is unknown."""
    spelling, unknown = call.spelling, slice(0, 0)
    if spelling.name == 'narrow' and len(spelling.args) == 4:
        start, length = spelling.args[2:]
        return slice(start, start + length)
    if spelling.name != '__getitem__':
        return unknown
    index = spelling.args[1]
    index = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in index:
        place = index.index(Ellipsis)
        index[place : place + 1] = [slice(None)] * (ndim - len(index) + 1)
    if not all(isinstance(item, slice) for item in index) or axis >= len(
        index
    ):
        return unknown
    return index[axis]


def select(trace: Tracer, call: Call) -> None:
    """One position of an axis."""
    x, axis, index = call.args[:3]
    axis %= x.dim()
    for strand in trace.shadow(x).along(axis):
        _keep_pieces(trace, strand, axis, call)
    trace.set(call, _position(trace, x, axis, index))


def unbind(trace: Tracer, call: Call) -> None:
    """All positions of an axis, apart."""
    x = call.tensors[0]
    axis = int(call.argument('dim', 0)) % x.dim()
    for strand in trace.shadow(x).along(axis):
        _keep_pieces(trace, strand, axis, call)
    for position, out in enumerate(call.outputs):
        trace.set(call, _position(trace, x, axis, position), out)


def _position(trace: Tracer, x: Tensor, axis: int, index: int) -> list[Strand]:
    return [
        np.take(s, index if s.shape[axis] > 1 else 0, axis=axis)
        for s in trace.shadow(x).strands
    ]


def _keep_pieces(trace: Tracer, strand: Strand, axis: int, call: Call) -> None:
    """The axis keeps its size; channels may go along another one only."""
    if varying(strand) == [axis]:
        reason = f'taken apart at fixed positions by {trace.where(call)}'
        trace.freeze([strand], 'sliced', reason)


def split(trace: Tracer, call: Call) -> None:
    """``chunk`` takes equal pieces, which lose the same positions.

    ``split`` takes pieces of sizes that the code tells; literal ones stay.
    """
    x = call.tensors[0]
    pieces = call.outputs
    axis = int(call.argument('dim', 0)) % x.dim()
    stops = np.cumsum([piece.shape[axis] for piece in pieces])
    for strand in trace.shadow(x).along(axis):
        if len(pieces) > 1:
            _note_pieces(trace, call, strand, axis)
    for piece, stop in zip(pieces, stops):
        inside = range(stop - piece.shape[axis], stop)
        strands = [
            np.take(s, inside, axis=axis) if s.shape[axis] > 1 else s
            for s in trace.shadow(x).strands
        ]
        trace.set(call, strands, piece)


def _note_pieces(trace: Tracer, call: Call, strand: Strand, axis: int) -> None:
    """State what a split asks for: even pieces, or pieces of known sizes."""
    sizes = [piece.shape[axis] for piece in call.outputs]
    asked = _spelled_pieces(call)
    even = len(set(sizes)) == 1 and sizes[0] > 1
    counted = call.spelling.name in ('chunk', 'unsafe_chunk', 'tensor_split')
    if isinstance(asked, int):
        counted = trace.sizes.is_traced(asked)
        asked = [asked] * len(sizes)
    whole = strand.shape[axis]
    shares = [trace.sizes.is_share(size, whole) for size in asked or ()]
    if even and (counted or (shares and all(shares))):
        _split_evenly(trace, strand, axis, len(sizes), call)
    elif not asked or not all(map(trace.sizes.is_traced, asked)):
        reason = f'split at fixed positions by {trace.where(call)}'
        trace.freeze([strand], 'sliced', reason)
        return
    stops = np.cumsum(sizes)
    for size, stop, value in zip(sizes, stops, asked or ()):
        if size != value:  # the remainder
            continue
        piece = np.take(strand, range(stop - size, stop), axis=axis)
        where = trace.where(call)
        trace.sizes.require(channel_rows(piece, axis), value, where)


def _spelled_pieces(call: Call) -> Any:
    """Sizes in ``split(x, sizes)``, or the size of all; None if unknown."""
    spelling = call.spelling
    if spelling.name not in ('split', 'split_with_sizes'):
        return None
    given = spelling.args[1] if len(spelling.args) > 1 else None
    for name in ('split_size_or_sections', 'split_size', 'split_sizes'):
        given = spelling.kwargs.get(name, given)
    return given


def _split_evenly(
    trace: Tracer, strand: Strand, axis: int, count: int, call: Call
) -> None:
    shape = list(strand.shape)
    shape[axis : axis + 1] = [count, shape[axis] // count]
    grid = strand.reshape(shape)
    axes, where = (axis, axis + 1), trace.where(call)
    trace.grids.append(Grid(grid, axes, axes[1:], where, spelled=True))


def gated_halves(trace: Tracer, call: Call) -> None:
    """``a · sigmoid(b)`` of the two halves of an axis."""
    x = call.tensors[0]
    axis = int(call.argument('dim', -1)) % x.dim()
    strands = []
    for strand in trace.shadow(x).strands:
        if strand.shape[axis] > 1:
            first, second = np.split(strand, 2, axis=axis)
            trace.tie(first, second, trace.where(call))
            strand = first
        strands.append(strand)
    trace.set(call, strands)


# -------------------------------------------------------------------- together
def concatenate(trace: Tracer, call: Call) -> None:
    """Pieces one after the other; a piece without channels stays fixed."""
    pieces = [t for t in call.args[0] if t.numel()]
    axis = int(call.argument('dim', 0)) % call.out.dim()
    count = max((len(trace.shadow(t).strands) for t in pieces), default=0)
    where = trace.where(call)
    joined = []
    for number in range(count):
        parts = [_numbered(trace, t, number) for t in pieces]
        axes = {tuple(varying(p)) for p in parts if p.size > 1}
        if all(axis in own for own in axes) and (len(axes) == 1 or count == 1):
            if axes != {(axis,)}:  # other axes must agree: channels only
                rows = [trace.axis(t, axis) for t in pieces]
                parts = [on_axis(r, axis, call.out.dim()) for r in rows]
            joined.append(_end_to_end(parts, pieces, axis))
        elif any(axis in own for own in axes) or len(axes) > 1:
            reason = f'joined from unlike pieces by {where}'
            trace.freeze(parts, 'joined', reason)
        else:  # side by side: the channels lie along another axis
            for part in parts[1:]:
                trace.tie(parts[0], part, f'meets a fixed width at {where}')
            joined.append(max(parts, key=lambda p: p.size))
    trace.set(call, joined)


def _numbered(trace: Tracer, tensor: Tensor, number: int) -> Strand:
    strands = trace.shadow(tensor).strands
    if number < len(strands):
        return strands[number]
    return np.full((1,) * tensor.dim(), NO_ATOM)


def _end_to_end(
    parts: Sequence[Strand], pieces: Sequence[Tensor], axis: int
) -> Strand:
    shape = list(
        np.broadcast_shapes(
            *(p.shape[:axis] + (1,) + p.shape[axis + 1 :] for p in parts)
        )
    )
    full = []
    for part, tensor in zip(parts, pieces):
        shape[axis] = tensor.shape[axis]
        full.append(np.broadcast_to(part, shape))
    return compress(np.concatenate(full, axis=axis))


def stack(trace: Tracer, call: Call) -> None:
    """Concatenation along a new axis: the pieces lose the same positions."""
    pieces = list(call.args[0])
    axis = int(call.argument('dim', 0)) % call.out.dim()
    strands = [trace.shadow(t).strands for t in pieces]
    joined: list[Strand] = []
    if len({len(s) for s in strands}) > 1:
        reason = f'joined from unlike pieces by {trace.where(call)}'
        trace.freeze([s for own in strands for s in own], 'joined', reason)
        strands = []
    for parts in zip(*strands):
        for part in parts[1:]:
            trace.tie(parts[0], part, trace.where(call))
        full = np.broadcast_arrays(*parts)
        joined.append(compress(np.stack(full, axis=axis)))
    trace.set(call, joined)


def repeat(trace: Tracer, call: Call) -> None:
    """Copies laid out one after the other."""
    x, counts = call.args[:2]
    strands = []
    for strand in trace.aligned(x, len(counts)):
        tiles = [n if s > 1 else 1 for n, s in zip(counts, strand.shape)]
        strands.append(np.tile(strand, tiles))
    trace.set(call, strands)


def pad(trace: Tracer, call: Call) -> None:
    """Zero padding; padded channels carry no atom."""
    x, widths = call.args[:2]
    pairs = list(zip(widths[::2], widths[1::2]))
    pairs += [(0, 0)] * (x.dim() - len(pairs))
    pairs.reverse()
    strands = []
    for strand in trace.shadow(x).strands:
        here = [p if s > 1 else (0, 0) for p, s in zip(pairs, strand.shape)]
        if min(min(pair) for pair in here) < 0:
            reason = f'cropped at {trace.where(call)}'
            trace.freeze([strand], 'sliced', reason)
            continue
        strands.append(np.pad(strand, here, constant_values=NO_ATOM))
    trace.set(call, strands)


# ------------------------------------------------------------------- reordered
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


# --------------------------------------------------------------------- indexed
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
