"""How costs grow with the depth and the width of a network.

ResNets for CIFAR, in which depth and width are numbers. Measured are tracing,
what a DHP search adds to a training step (pull, more numbers to optimise,
push), and the transition: selection of the channels by DHP's and by filling
the budget, the proof (verify) and the cut (shrink). The last lines are
exponents of least squares in log-log scale: 1 is linear.
"""

import argparse
import copy
from dataclasses import dataclass
from typing import Callable

import torch
from _benchmark_measuring import add_options, exponent, prepare, quartiles
from _benchmark_networks import (
    Network,
    build,
    cifar_resnet,
    plain_wrapper,
    trace,
    training_step,
)
from _benchmark_search import searching
from torch import Tensor, nn

import mmdhp
from mmdhp.engine.latency import interleaved
from mmdhp.engine.report import amount, table
from mmdhp.methods.selection import select

_DEPTHS = (20, 56, 110, 164, 1001)
_WIDTHS = (0.5, 1.0, 2.0, 4.0)
_DEPTH = 56  # at which the width varies
_BATCH = 2
_KEPT = 0.5  # of the MACs
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
        **transition(model, graph, network, args.device),
    }
    times = interleaved(list(calls.values()), args.device, args.rounds)
    costs = {key: quartiles(own)[1] for key, own in zip(calls, times)}
    costs['shrink'] = max(costs['shrink'] - costs.pop('copy'), 1e-6)
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
    device: torch.device,
) -> dict[str, Callable]:
    """Selection, proof and cut; the cut one of a copy."""
    torch.manual_seed(2)
    scores = torch.randn(graph.num_units).abs()
    floors = torch.ones(len(graph.groups), dtype=torch.long)
    budget = _KEPT * int(graph.macs())
    inputs = torch.rand(_BATCH, *network.shape, device=device)

    def chosen(fill: bool = False) -> Tensor:
        cost = lambda keep: int(graph.macs(keep))  # noqa: E731
        return select(scores, graph, cost, budget, floors, fill=fill)

    keep = chosen()
    return {
        'select': chosen,
        'select, fill': lambda: chosen(fill=True),
        'verify': lambda: mmdhp.verify(model, graph, keep, inputs),
        'shrink': lambda: mmdhp.shrink(copy.deepcopy(model), graph, keep),
        'copy': lambda: copy.deepcopy(model),
    }


def search_overhead(network: Network, args: argparse.Namespace) -> float:
    """Seconds that a search adds to a step, which the batch does not change.

    Plain and search steps take turns; the median of their differences.
    """
    batch = torch.rand(_BATCH, *network.shape, device=args.device)
    plain, searched = (build(network, args.device) for _ in range(2))
    wrapper = searching(searched, network, 'dhp')
    steps = [
        training_step(plain, plain_wrapper(plain, network.optimizer), batch),
        training_step(searched, wrapper, batch, wrapper.pruner.set_mode),
    ]
    times = interleaved(steps, args.device, args.rounds, warm_up=2)
    differences = [b - a for a, b in zip(*times)]
    return max(quartiles(differences)[1], 1e-6)
