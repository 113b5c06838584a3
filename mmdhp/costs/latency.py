"""Latency of a network on this machine, predicted from measured operators.

    latency(v) = overhead + scale · Σ_operators table(widths(v))

Every distinct operator (same arguments, sizes and types) is measured once at
a grid of widths. Overhead and scale are fitted to whole networks of a few
widths: alone, operators find their data in the caches, and the overhead is
what Python and the framework do in between.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdhp.graph import ChannelGraph

from .base import Cost
from .operators import Operator
from .table import Interpolation, Table, grid

Measurements = Mapping[str, Sequence[float]]


class Plan:
    """What has to be measured to know the latency of a network.

    Args:
        graph (ChannelGraph): The graph that is pruned.
        operators (Sequence[Operator]): That take time, in call order.
        divisor (int): Of kept channels; other widths are not measured.
        network (str): Name of the measurements of whole networks.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        operators: Sequence[Operator],
        divisor: int,
        network: str,
    ) -> None:
        self.graph = graph
        self.divisor = divisor
        self.network = network
        found = Counter((o.signature, o.variables) for o in operators)
        by_kind = {(o.signature, o.variables): o for o in operators}
        self.operators = [by_kind[kind] for kind in found]
        self.counts = list(found.values())
        self.names = [self._name(operator) for operator in self.operators]

    def _name(self, operator: Operator) -> str:
        widths = grid(operator, self.divisor)
        return f'{operator.signature} at {widths}'

    @property
    def distinct(self) -> dict[str, Operator]:
        """One operator for every table, by the name of its measurements."""
        return dict(zip(self.names, self.operators))

    def masks(self) -> list[Tensor]:
        """Masks of the networks that overhead and scale are fitted to."""
        return [narrow(self.graph, share) for share in (1.0, 0.5, 0.25)]


def narrow(graph: ChannelGraph, share: float) -> Tensor:
    """The mask that keeps the first units of every group, at least one."""
    keep = torch.zeros(graph.num_units, dtype=torch.bool)
    for group in graph.groups:
        kept = max(round(group.size * share), 1)
        keep[group.start : group.start + kept] = True
    return keep


class Latency(Cost):
    """Milliseconds of one forward pass, predicted.

    Args:
        plan (Plan): What was measured.
        measurements (Mapping): Milliseconds by name: of every operator at its
            grid of widths, and of the networks of :meth:`Plan.masks`.
        baseline (Tensor): The mask that is 100 %, shape ``(U, )``.

    Attributes:
        overhead (float): Milliseconds that do not depend on widths.
        scale (float): Of the sum of all operators' times.
    """

    quantity = 'latency'
    title = 'latency'
    unit = 'ms'

    def __init__(
        self, plan: Plan, measurements: Measurements, baseline: Tensor
    ) -> None:
        super().__init__(plan.graph, 1.0)
        self.plan = plan
        self.baseline = baseline
        self.load_state_dict({'measurements': measurements})

    def soft(self, gates: Tensor) -> Tensor:
        """See :meth:`Cost.soft`."""
        return self.overhead + self.scale * self._sum(gates)

    def state_dict(self) -> dict[str, Any]:
        """All measurements: a resumed run decides by them."""
        return {'measurements': self.measurements}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`.

        Raises:
            ValueError: If operators of this network are not in it.
        """
        measurements = state['measurements']
        wanted = [*self.plan.names, self.plan.network]
        missing = [name for name in wanted if name not in measurements]
        if missing:
            raise ValueError(
                f'The latency table lacks {len(missing)} of {len(wanted)} '
                f'measurements, such as {missing[0][:120]}. It is of another '
                'network, input shape or divisor: resume with the config '
                'that started the run.'
            )
        self.measurements = {
            name: [float(ms) for ms in measurements[name]] for name in wanted
        }
        plan = self.plan
        tables = [
            Table.of(operator, plan.divisor, self.measurements[name])
            for name, operator in zip(plan.names, plan.operators)
        ]
        self._sum = Interpolation(
            plan.graph, plan.operators, tables, plan.counts
        )
        sums = [float(self._sum(mask.double())) for mask in plan.masks()]
        self.overhead, self.scale = fit(sums, self.measurements[plan.network])
        self.full = self.value(self.baseline)


def fit(
    sums: Sequence[float], measured: Sequence[float]
) -> tuple[float, float]:
    """Overhead and scale that explain the time of whole networks.

    Least squares of the relative errors; neither is negative.

    Args:
        sums (Sequence[float]): Of all operators' times, per network.
        measured (Sequence[float]): Times of the networks.

    Examples:
        >>> fit([1.0, 2.0, 4.0], [5.0, 8.0, 14.0])
        (2.0, 3.0)
    """
    times = torch.tensor(measured, dtype=torch.float64)
    rows = torch.tensor(sums, dtype=torch.float64) / times
    both = torch.stack([1 / times, rows], 1)
    ones = torch.ones_like(times)[:, None]
    overhead, scale = torch.linalg.lstsq(both, ones).solution[:, 0].tolist()
    if overhead < 0 or scale <= 0:
        overhead, scale = 0.0, float(rows.sum() / rows.square().sum())
    return round(overhead, 12), round(scale, 12)
