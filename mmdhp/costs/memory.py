"""Peak memory of activations, in closed form."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mmdhp.graph import Activity, ChannelGraph, ProductCost, TensorRecord

from .base import Cost

Term = tuple[float, list[tuple[int, ...]]]


def elements(record: TensorRecord, batch_size: int) -> Term:
    """Number of elements per sample, as a term of :class:`ProductCost`.

    Args:
        record (TensorRecord): A tensor, with units in its strands.
        batch_size (int): Samples of the pass; only tensors that follow from
            the model's input grow with it.
    """
    rest, axes = dict(enumerate(record.shape)), []
    for strand in record.strands:
        own = [axis for axis, size in enumerate(strand.shape) if size > 1]
        if all(axis in rest for axis in own):
            axes.append(tuple(strand.ravel().tolist()))
            for axis in own:
                del rest[axis]
    factor: float = math.prod(rest.values())
    return (factor / batch_size if record.dynamic else factor), axes


@dataclass(frozen=True)
class _Life:
    """Bytes of a piece of memory, and the calls between which it lives."""

    term: Term
    first: int
    last: int


def _lives(activity: Activity) -> list[_Life]:
    """All memory that operators of a pass write, and the model's inputs.

    What no operator reads and the model does not return is left out, such as
    the statistics that a norm computes on the side.
    """
    born: dict[int, tuple[Term, int]] = {}
    last = dict.fromkeys(activity.returned, len(activity.calls))
    seen: set[int] = set()
    for index, call in enumerate(activity.calls):
        for tensor in call.inputs:
            if tensor.storage not in seen and tensor.dynamic:
                born[tensor.storage] = (_bytes(tensor, activity), 0)
            last[tensor.storage] = max(last.get(tensor.storage, 0), index)
            seen.add(tensor.storage)
        for tensor in call.outputs:
            if tensor.storage not in seen:
                born[tensor.storage] = (_bytes(tensor, activity), index)
                seen.add(tensor.storage)
    return [
        _Life(term, first, last[storage])
        for storage, (term, first) in born.items()
        if storage in last
    ]


def _bytes(tensor: TensorRecord, activity: Activity) -> Term:
    factor, axes = elements(tensor, activity.batch_size)
    return factor * tensor.dtype.itemsize, axes


class PeakMemory:
    """Largest number of bytes of activations that are needed at once.

    A tensor is needed from the operator that writes it to the last one that
    reads it, or a view of it; the model's input from the start, its outputs
    to the end. Weights and what an operator allocates for itself do not
    count. This is what a runtime that plans its memory needs; eager PyTorch
    needs more where Python code holds on to a tensor.

    Args:
        graph (ChannelGraph): The graph.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        lives = _lives(graph.activity)
        self.graph = graph
        self.sizes = ProductCost(
            [life.term for life in lives], graph.num_units
        )
        self.first = torch.tensor([life.first for life in lives]).long()
        self.after = torch.tensor([life.last + 1 for life in lives]).long()
        self.calls = len(graph.activity.calls)

    def profile(self, gates: Tensor) -> Tensor:
        """Bytes at every operator call, and behind the last one.

        Args:
            gates (Tensor): Gates or mask, shape ``(U, )``, on the CPU.

        Returns:
            Tensor: float64, shape ``(calls + 1, )``, per sample.
        """
        sizes = self.sizes.terms(self.graph.extend(gates))
        change = sizes.new_zeros(self.calls + 2)
        change = change.index_add(0, self.first, sizes)
        change = change.index_add(0, self.after, -sizes)
        return change.cumsum(0)[:-1]

    def __call__(self, gates: Tensor) -> Tensor:
        """The peak, a float64 scalar."""
        return self.profile(gates).max()


class Memory(Cost):
    """Peak memory of activations for one sample, see :class:`PeakMemory`.

    Args:
        graph (ChannelGraph): The graph that is pruned.
        baseline (ChannelGraph): Of what the target is a fraction.
    """

    quantity = 'memory'
    title = 'activation memory'
    unit = 'B'
    convex = True  # the largest of sums of products of widths

    def __init__(self, graph: ChannelGraph, baseline: ChannelGraph) -> None:
        super().__init__(graph, peak_memory(baseline))

    @cached_property
    def _peak(self) -> PeakMemory:
        return PeakMemory(self.graph)

    def soft(self, gates: Tensor) -> Tensor:
        """See :meth:`Cost.soft`."""
        return self._peak(gates)

    def value(self, keep: Tensor) -> int:
        """See :meth:`Cost.value`."""
        return round(super().value(keep))


def peak_memory(graph: ChannelGraph) -> int:
    """Peak memory of activations of the whole network, in bytes."""
    return round(PeakMemory(graph)(graph.full().double()).item())
