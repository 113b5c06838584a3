"""Rules of operators that take tensors apart or put them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..tracing.operator_call import Call
from ..tracing.shadow import Grid
from ..tracing.strands import (
    NO_ATOM,
    Strand,
    channel_rows,
    compress,
    on_axis,
    varying,
)

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer


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
