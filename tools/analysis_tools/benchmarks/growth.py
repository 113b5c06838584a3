"""How costs grow with the depth and the width of a network.

ResNets for CIFAR, in which depth and width are numbers. Measured are tracing,
what a DHP search adds to a training step (pull, more numbers to optimise,
push), and the transition: selection of the channels by one threshold, without
and with filling the budget, the proof (verify) and the cut (shrink). Times
are the least of all rounds. The last lines are exponents of least squares in
log-log scale: 1 is linear.
"""

import argparse
import copy
from dataclasses import dataclass
from typing import Callable

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

import mmdhp
from mmdhp.costs import MACs
from mmdhp.methods.selection import select
from mmdhp.text import amount, table

from .measuring import add_options, exponent, prepare, timed
from .networks import (
    Network,
    build,
    cifar_resnet,
    loss_of,
    plain_wrapper,
    trace,
)
from .search import searching

_DEPTHS = (20, 56, 110, 164, 1001)
_WIDTHS = (0.5, 1.0, 2.0, 4.0)
_DEPTH = 56  # at which the width varies
_BATCH = 2
_KEPT = 0.5  # of the MACs
_TICK = 1e-6  # seconds, below which nothing is measured
COSTS = ('trace', 'search', 'select', 'select, fill', 'verify', 'shrink')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument('--depths', type=int, nargs='*', default=_DEPTHS)
    parser.add_argument('--widths', type=float, nargs='*', default=_WIDTHS)
    add_options(parser, 5)


@dataclass(frozen=True)
class Point:
    """What one network costs.

    Args:
        label (str): Its depth or width.
        layers (int): Conv layers.
        units (int): Channel units that can go.
        params (int): Parameters.
        costs (dict[str, float]): Seconds by what takes them.
    """

    label: str
    layers: int
    units: int
    params: int
    costs: dict[str, float]


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    prepare(args)
    if args.depths:
        points = [
            measure(f'depth {depth}', cifar_resnet(depth), args)
            for depth in args.depths
        ]
        report(points, {'layers': [p.layers for p in points]})
    if args.widths:
        points = [
            measure(f'width {width:g}', cifar_resnet(_DEPTH, width), args)
            for width in args.widths
        ]
        sizes = {
            'units': [p.units for p in points],
            'params': [p.params for p in points],
        }
        report(points, sizes)


def report(points: list[Point], sizes: dict[str, list[int]]) -> None:
    """Print a table of costs in ms, and exponents."""
    rows = [
        [p.label, str(p.layers), str(p.units), amount(p.params)]
        + [f'{1e3 * p.costs[key]:.1f}' for key in COSTS]
        for p in points
    ]
    if len(points) > 1:
        rows += [
            [f'exponent, by {name}', '', '', '']
            + [
                f'{exponent(own, [p.costs[key] for p in points]):.2f}'
                for key in COSTS
            ]
            for name, own in sizes.items()
        ]
    header = ['network', 'layers', 'units', 'parameters']
    print(table(rows, [*header, *(f'{key} ms' for key in COSTS)]))
    print()


def measure(label: str, network: Network, args: argparse.Namespace) -> Point:
    """All costs of one network."""
    model = build(network, args.device)
    graph = trace(model, network)
    calls = {
        'trace': lambda: trace(model, network),
        **transition(model, graph, network, args),
    }
    times = timed(list(calls.values()), args)
    costs = {key: min(own) for key, own in zip(calls, times)}
    costs['search'] = search_overhead(network, args)
    return Point(
        label,
        sum(isinstance(m, nn.Conv2d) for m in model.modules()),
        graph.num_units,
        int(graph.params()),
        costs,
    )


def transition(
    model: nn.Module,
    graph: mmdhp.ChannelGraph,
    network: Network,
    args: argparse.Namespace,
) -> dict[str, Callable]:
    """Selection, proof and cut; the cut of a copy that is there already."""
    torch.manual_seed(2)
    scores = torch.randn(graph.num_units).abs()
    floors = torch.ones(len(graph.groups), dtype=torch.long)
    cost = MACs(graph, graph, ('weight',))
    inputs = torch.rand(_BATCH, *network.shape, device=args.device)
    copies = [copy.deepcopy(model) for _ in range(1 + args.rounds)]

    def chosen(fill: bool = False) -> Tensor:
        return select(
            scores,
            graph,
            cost.value,
            _KEPT * cost.full,
            floors,
            fill=fill,
            rises=cost.rises,
        )

    keep = chosen()
    return {
        'select': chosen,
        'select, fill': lambda: chosen(fill=True),
        'verify': lambda: mmdhp.verify(model, graph, keep, inputs),
        'shrink': lambda: mmdhp.shrink(copies.pop(), graph, keep),
    }


def search_overhead(network: Network, args: argparse.Namespace) -> float:
    """Seconds that a search adds to an optimizer's step.

    Forward and backward passes are the same ones, so they are not timed.
    """
    batch = torch.rand(_BATCH, *network.shape, device=args.device)
    plain, searched = (build(network, args.device) for _ in range(2))
    calls = [
        optimizer_step(plain, plain_wrapper(plain, network.optimizer), batch),
        optimizer_step(searched, searching(searched, network, 'dhp'), batch),
    ]
    times = timed(calls, args, warm_up=2)
    least, more = map(min, times)
    return max(more - least, _TICK)


def optimizer_step(
    model: nn.Module, wrapper: OptimWrapper, batch: Tensor
) -> Callable[[], None]:
    """An optimizer's step with the same gradients every time."""
    loss_of(model.train(), batch).backward()
    kept = [(p, p.grad) for p in model.parameters()]

    def step() -> None:
        for parameter, grad in kept:
            parameter.grad = grad
        wrapper.step()

    return step
