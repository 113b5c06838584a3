"""What a target can be a fraction of, as one kind of object."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmdhp.graph import ChannelGraph


class Cost(ABC):
    """A quantity of a network, as a function of its kept units.

    It never falls when units are added, so a threshold on scores that meets a
    budget can be found by bisection.

    Args:
        graph (ChannelGraph): The graph that is pruned.
        full (float): The quantity of the baseline, in this cost's unit.

    Attributes:
        quantity (str): Name in targets.
        title (str): Name in sentences.
        unit (str): Unit of the values.
        convex (bool): Whether further units add at least its gradient.
    """

    quantity: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str] = ''
    convex: ClassVar[bool] = False

    def __init__(self, graph: ChannelGraph, full: float) -> None:
        self.graph = graph
        self.full = full

    @abstractmethod
    def soft(self, gates: Tensor) -> Tensor:
        """The quantity for gates, differentiable.

        Args:
            gates (Tensor): In [0, 1], float64, shape ``(U, )``, on the CPU.

        Returns:
            Tensor: float64 scalar.
        """

    def value(self, keep: Tensor) -> float:
        """The quantity for a bool mask, shape ``(U, )``."""
        with torch.no_grad():
            return self.soft(keep.cpu().double()).item()

    def rises(self, keep: Tensor) -> Tensor:
        """What each further unit adds to that of a mask, at least.

        Several units of one group together add at least their sum.

        Args:
            keep (Tensor): bool mask, shape ``(U, )``.

        Returns:
            Tensor: float64, shape ``(U, )``; 0 where nothing is known.
        """
        gates = keep.cpu().double().requires_grad_()
        with torch.enable_grad():
            cost = self.soft(gates)
        if not self.convex or not cost.requires_grad:
            return torch.zeros_like(gates, requires_grad=False)
        return torch.autograd.grad(cost, gates)[0]

    def share(self, keep: Tensor) -> float:
        """The quantity for a mask, as a fraction of the baseline's."""
        return self.value(keep) / self.full

    def state_dict(self) -> dict[str, Any]:
        """What cannot be computed again: measurements."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Restore :meth:`state_dict`."""


class MACs(Cost):
    """Multiply-accumulates of one sample, exact.

    Args:
        graph (ChannelGraph): The graph that is pruned.
        baseline (ChannelGraph): Of what the target is a fraction.
        kinds (Sequence[str]): What counts, see :meth:`ChannelGraph.macs`.
        spared (tuple[int, int]): MACs of graph and baseline that do not
            count. Defaults to (0, 0).
    """

    quantity = 'macs'
    title = 'MACs'
    convex = True  # products of widths

    def __init__(
        self,
        graph: ChannelGraph,
        baseline: ChannelGraph,
        kinds: Sequence[str],
        spared: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(graph, int(baseline.macs(kinds=kinds)) - spared[1])
        self.kinds = tuple(kinds)
        self.spared = spared[0]

    def soft(self, gates: Tensor) -> Tensor:
        """See :meth:`Cost.soft`."""
        return torch.as_tensor(
            self.graph.macs(gates, self.kinds) - self.spared
        )

    def value(self, keep: Tensor) -> int:
        """See :meth:`Cost.value`."""
        return int(self.graph.macs(keep, self.kinds)) - self.spared


class Params(Cost):
    """Number of parameters, exact; buffers do not count.

    Args:
        graph (ChannelGraph): The graph that is pruned.
        baseline (ChannelGraph): Of what the target is a fraction.
    """

    quantity = 'params'
    title = 'parameters'
    convex = True  # products of widths

    def __init__(self, graph: ChannelGraph, baseline: ChannelGraph) -> None:
        super().__init__(graph, int(baseline.params()))

    def soft(self, gates: Tensor) -> Tensor:
        """See :meth:`Cost.soft`."""
        return torch.as_tensor(self.graph.params(gates))

    def value(self, keep: Tensor) -> int:
        """See :meth:`Cost.value`."""
        return int(self.graph.params(keep))
