"""What must be left of a network, and whether it can be."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Optional

from torch import Tensor, nn

from mmdhp.costs import (
    Cost,
    LatencyOptions,
    MACs,
    Memory,
    Meter,
    Params,
    from_first,
)
from mmdhp.graph import ChannelGraph, Forward, GraphError

from .options import nearest

TITLES = {
    'macs': 'MACs',
    'params': 'parameters',
    'memory': 'activation memory',
    'latency': 'latency',
}
QUANTITIES = tuple(TITLES)


@dataclass(frozen=True)
class Target:
    """What must be left of a network.

    Args:
        ratios (tuple): Pairs of a quantity of :data:`QUANTITIES` and the
            fraction of the original that may be left, in (0, 1].
    """

    ratios: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, target: Any) -> 'Target':
        """Read ``dict(macs=0.4)`` or ``dict(macs=0.5, latency=0.6)``.

        Raises:
            TypeError: If it is no dict of numbers, or an empty one.
            KeyError: If it names an unknown quantity.
            ValueError: If a ratio is outside (0, 1].
        """
        if not isinstance(target, Mapping) or not target:
            raise TypeError(
                f'target is {target!r}, but at least one quantity is needed: '
                'dict(macs=0.4), or dict(macs=0.5, latency=0.6) to meet both.'
            )
        for quantity, ratio in target.items():
            _check(quantity, ratio)
        return cls(tuple((key, float(value)) for key, value in target.items()))

    @property
    def quantity(self) -> str:
        """The first quantity, of most targets the only one."""
        return self.ratios[0][0]

    @property
    def ratio(self) -> float:
        """The fraction of the first quantity."""
        return self.ratios[0][1]

    @property
    def quantities(self) -> tuple[str, ...]:
        """All quantities."""
        return tuple(quantity for quantity, _ in self.ratios)

    def as_dict(self) -> dict[str, float]:
        """As in configs."""
        return dict(self.ratios)

    def __str__(self) -> str:
        return ' and '.join(
            f'{ratio:.2%} of the {TITLES[quantity]}'
            for quantity, ratio in self.ratios
        )


def _check(quantity: Any, ratio: Any) -> None:
    if quantity not in QUANTITIES:
        raise KeyError(
            f'target {quantity!r} is unknown; there are '
            f'{", ".join(QUANTITIES)}.{nearest(quantity, QUANTITIES)}'
        )
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)):
        raise TypeError(f'target {quantity} is {ratio!r}, not a number.')
    if not 0 < ratio <= 1:
        raise ValueError(
            f'target {quantity} is {ratio}, but it is the fraction that '
            'is left, in (0, 1]: 0.4 keeps 40 %.'
        )


class Goal:
    """A target with the costs that it is about.

    Args:
        target (Target): The target.
        costs (Iterable[Cost]): One per quantity of the target.
    """

    def __init__(self, target: Target, costs: Iterable[Cost]) -> None:
        self.target = target
        self.costs = {cost.quantity: cost for cost in costs}

    @property
    def single(self) -> bool:
        """Whether the target is about one quantity."""
        return len(self.costs) == 1

    @property
    def first(self) -> Cost:
        """Cost of the first quantity."""
        return self.costs[self.target.quantity]

    def shares(self, keep: Tensor) -> dict[str, float]:
        """Fraction of the baseline that a mask leaves, by quantity."""
        return {key: cost.share(keep) for key, cost in self.costs.items()}

    def load(self, keep: Tensor) -> float:
        """Largest share of a mask as a multiple of what the target allows.

        The target is met if it is at most 1.
        """
        return max(
            self.costs[quantity].share(keep) / ratio
            for quantity, ratio in self.target.ratios
        )

    def reached(self, keep: Tensor, tolerance: float) -> bool:
        """Whether every share exceeds its ratio by ``tolerance`` at most."""
        shares = self.shares(keep)
        return all(
            shares[quantity] - ratio <= tolerance
            for quantity, ratio in self.target.ratios
        )

    def check_reachable(self, least: Tensor) -> None:
        """Refuse ratios below those of the narrowest network.

        No cost falls with more units, so what each one reaches there, all of
        them reach at once.

        Args:
            least (Tensor): Its mask, shape ``(U, )``.

        Raises:
            GraphError: With the reachable range of every such quantity.
        """
        shares = self.shares(least)
        problems = [
            f'The target {ratio:.4g} cannot be reached: with the smallest '
            f'allowed widths {shares[quantity]:.4g} of the original is left '
            f'({TITLES[quantity]}: {_above(shares[quantity]):.4g} to 1 can be '
            'reached).'
            for quantity, ratio in self.target.ratios
            if shares[quantity] > ratio
        ]
        if problems:
            raise GraphError(
                f'{" ".join(problems)} Raise the target, or allow smaller '
                'widths.'
            )

    def state_dict(self) -> dict[str, Any]:
        """What cannot be computed again, by quantity; often nothing."""
        states = {key: cost.state_dict() for key, cost in self.costs.items()}
        return {key: state for key, state in states.items() if state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        for quantity, cost in self.costs.items():
            if quantity in state:
                cost.load_state_dict(state[quantity])


@dataclass(frozen=True)
class Progress:
    """Where a search stands.

    Args:
        macs (float): MACs left at the method's own threshold, as a fraction.
        params (float): Parameters left, as a fraction.
        reached (bool, optional): Whether the search may stop. None for a
            method that has no threshold of its own: its search lasts as long
            as the config says.
        others (dict[str, float]): What is left of the target's quantities
            besides MACs and parameters, as fractions.
    """

    macs: float
    params: float
    reached: Optional[bool]
    others: dict[str, float] = field(default_factory=dict)


class Budgeted:
    """The part of a pruner that knows what networks cost.

    Attributes:
        target (Target): What is left.
        graph (ChannelGraph): The graph that is pruned.
        baseline (ChannelGraph): Of what the target is a fraction.
        goal (Goal): The target with its costs.
        meter (Meter | None): Measures, if latency is a target.
    """

    target: Target
    input_shape: tuple[int, ...]
    kinds: tuple[str, ...]
    divisor: int
    latency: LatencyOptions
    graph: ChannelGraph
    baseline: ChannelGraph
    goal: Goal
    meter: Optional[Meter]

    def build_costs(
        self, model: nn.Module, forward: Optional[Forward]
    ) -> dict[str, Cost]:
        """What the target is about, by quantity; measures what it must.

        Args:
            model (nn.Module): The traced model.
            forward (Callable, optional): As for :func:`mmdhp.trace`.
        """
        graph, base = self.graph, self.baseline
        makers: dict[str, Callable[[], Cost]] = {
            'macs': lambda: MACs(graph, base, self.kinds),
            'params': lambda: Params(graph, base),
            'memory': lambda: Memory(graph, base),
            'latency': lambda: self._measure_latency(model, forward),
        }
        return {key: makers[key]() for key in self.target.quantities}

    def _measure_latency(
        self, model: nn.Module, forward: Optional[Forward]
    ) -> Cost:
        shape = self.latency.input_shape or self.input_shape
        options = replace(self.latency, input_shape=shape)
        self.meter = Meter(model, self.graph, options, forward, self.divisor)
        return self.meter.latency(self._baseline_mask())

    def _baseline_mask(self) -> Tensor:
        """Mask of as many units of every group as the baseline has."""
        keep = self.graph.full()
        sizes = {group.name: group.size for group in self.baseline.groups}
        for group in self.graph.groups:
            own = sizes.get(group.name, group.size)
            keep[group.start + own : group.stop] = False
        return keep

    def cost(self, keep: Tensor) -> float:
        """The target's first quantity for a mask, in its own unit."""
        return self.goal.first.value(keep)

    def measure(self, keep: Tensor) -> dict[str, float]:
        """Latency of the baseline and of the network of a mask, measured.

        Args:
            keep (Tensor): bool mask, shape ``(U, )``; the model must not yet
                be cut.

        Returns:
            dict: ``'original'`` and ``'pruned'``, in milliseconds; empty if
            latency is no target. Every process gets those of the first one.
        """
        meter = self.meter
        if meter is None:
            return {}
        masks = [self._baseline_mask(), keep]
        times = from_first(lambda: meter.networks(masks))
        return dict(zip(('original', 'pruned'), times))

    def ratios(self, keep: Tensor) -> tuple[float, float]:
        """MACs and parameters of a mask as fractions of the baseline's."""
        graph, base = self.graph, self.baseline
        macs = graph.macs(keep, self.kinds) / base.macs(kinds=self.kinds)
        params = graph.params(keep) / base.params()
        return float(macs), float(params)

    def standing(self, keep: Tensor, reached: Optional[bool]) -> Progress:
        """What a mask leaves, see :class:`Progress`."""
        others = self.goal.shares(keep)
        others = {q: others[q] for q in others if q in ('memory', 'latency')}
        return Progress(*self.ratios(keep), reached, others)


def _above(share: float) -> float:
    """Four digits that are no less than a share."""
    return math.ceil(share * 1e4) / 1e4
