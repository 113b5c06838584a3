"""Latency of pruned networks, relative to their multiply-accumulates.

Printed is (latency / latency of the original) / (MACs / MACs of the
original): 1 where the clock follows the arithmetic. Three kinds of networks
with the same budget, each with widths that are multiples of 1, 8 and 16:
searched ones, of which one global threshold decides the widths, so that they
differ from layer to layer; uniform ones, in which every layer keeps the same
share; and Torch-Pruning's, which cuts every layer at one ratio.

Scores of the searched ones are |N(0, 1)|, as of DHP's latents, times a
log-normal factor per group (`--spread`), as a search makes groups differ.
"""

import argparse
import copy
import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Callable, Optional

import numpy as np
import torch
from torch import Tensor, nn

import mmdhp
from mmdhp.methods.selection import select
from mmdhp.text import table

from .measuring import (
    add_names,
    add_options,
    check_names,
    milliseconds,
    prepare,
    quartiles,
    ratios,
    spread,
    timed,
)
from .networks import NETWORKS, Network, build, loss_of, trace

_DEFAULT = ('srresnet', 'resnet50', 'resnet56')
_SHAPES = {'srresnet': (3, 96, 96)}  # else that of the training
_BISECTIONS = 7
_FLOOR = 4  # channels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    add_names(parser, tuple(NETWORKS), _DEFAULT)
    parser.add_argument(
        '--macs',
        type=float,
        default=0.45,
        help='MACs that are left, as a fraction (default: %(default)s)',
    )
    parser.add_argument(
        '--divisors',
        type=int,
        nargs='+',
        default=[1, 8, 16],
        help='of the widths (default: 1 8 16)',
    )
    parser.add_argument(
        '--spread',
        type=float,
        default=0.3,
        help='standard deviation of the logarithm of the factor by which '
        'scores of groups differ (default: %(default)s)',
    )
    parser.add_argument('--batch', type=int, default=1)
    add_options(parser, 21)


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    check_names(args.networks, tuple(NETWORKS))
    if not 0 < args.macs < 1:
        raise SystemExit(f'error: --macs is {args.macs}, not in (0, 1).')
    prepare(args)
    rows = []
    for name in args.networks:
        rows += rows_of(name, args)
    header = ['network', 'widths', 'MACs', 'ms', 'latency']
    print(table(rows, [*header, 'latency / MACs (quartiles)']))


@torch.no_grad()
def rows_of(name: str, args: argparse.Namespace) -> list[list[str]]:
    """Rows of one network: the original and all of its pruned ones."""
    network = NETWORKS[name]
    shape = _SHAPES.get(name, network.shape)
    original = build(network, args.device).eval()
    batch = torch.rand(args.batch, *shape, device=args.device)
    models = {'original': original}
    models.update(pruned(original, network, shape, args))
    calls = [lambda m=m: loss_of(m, batch) for m in models.values()]
    times = timed(calls, args, warm_up=3)
    full = macs_of(original, network, shape)
    rows = []
    for (kind, model), own in zip(models.items(), times):
        macs = macs_of(model, network, shape) / full
        latency = ratios(own, times[0])
        rows.append(
            [
                f'{name} {"x".join(map(str, batch.shape))}',
                kind,
                f'{macs:.3f}',
                milliseconds(own),
                f'{quartiles(latency)[1]:.3f}',
                spread([ratio / macs for ratio in latency]),
            ]
        )
    return rows


def macs_of(model: nn.Module, network: Network, shape: Sequence[int]) -> int:
    """Multiply-accumulates of conv and linear layers for one sample.

    Torch-Pruning does not tie what a config ties.
    """
    untied = replace(network, groups=())
    return int(trace(model, untied, shape).macs())


def pruned(
    original: nn.Module,
    network: Network,
    shape: Sequence[int],
    args: argparse.Namespace,
) -> Iterator[tuple[str, nn.Module]]:
    """Pruned copies within the budget, with names.

    A divisor at which no width fits is left out, and said so.
    """
    graph = trace(original, network, shape)
    budget = args.macs * int(graph.macs())
    for divisor in args.divisors:
        ending = f', divisor {divisor}' if divisor > 1 else ''
        try:
            masks = {
                'searched': searched(graph, budget, divisor, args.spread),
                'uniform': uniform(graph, budget, divisor),
            }
        except mmdhp.GraphError as error:
            print(f'Left out: divisor {divisor}. {error}')
            continue
        for kind, keep in masks.items():
            model = copy.deepcopy(original)
            yield kind + ending, mmdhp.shrink(model, graph, keep)
        peer = torch_pruned(original, network, shape, budget, divisor)
        if peer is not None:
            yield 'Torch-Pruning' + ending, peer


# --------------------------------------------------------------------- widths
def searched(
    graph: mmdhp.ChannelGraph, budget: float, divisor: int, deviation: float
) -> Tensor:
    """A mask by one global threshold on scores that differ by group."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(graph.num_units, generator=generator).abs()
    factors = torch.randn(len(graph.groups), generator=generator)
    scores *= (deviation * factors).exp()[graph.group_of_unit]
    floors = torch.tensor([min(_FLOOR, g.size) for g in graph.groups])

    def cost(keep: Tensor) -> int:
        return int(graph.macs(keep))

    return select(scores, graph, cost, budget, floors, divisor, fill=True)


def uniform(graph: mmdhp.ChannelGraph, budget: float, divisor: int) -> Tensor:
    """A mask with the largest common share that fits the budget."""

    def mask(share: float) -> Tensor:
        keep = graph.full() & False
        for group in graph.groups:
            kept = divisor * max(round(share * group.size / divisor), 1)
            keep[group.start : group.start + min(kept, group.size)] = True
        return keep

    return mask(largest(lambda s: int(graph.macs(mask(s))) <= budget))


def largest(fits: Callable[[float], bool]) -> float:
    """Largest share in (0, 1) that fits, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def torch_pruned(
    original: nn.Module,
    network: Network,
    shape: Sequence[int],
    budget: float,
    divisor: int,
) -> Optional[nn.Module]:
    """What Torch-Pruning makes of a network; None if it is not there.

    It must leave alone what is an output, and convs before a pixel shuffle,
    several channels of which belong together.
    """
    if importlib.util.find_spec('torch_pruning') is None:
        return None
    best: list[nn.Module] = []

    def fits(share: float) -> bool:
        model = copy.deepcopy(original)
        cut_by_torch_pruning(model, network, shape, 1 - share, divisor)
        if macs_of(model, network, shape) > budget:
            return False
        best[:] = [model]
        return True

    with torch.enable_grad():  # it follows autograd's graph
        largest(fits)
    return best[0] if best else None


def cut_by_torch_pruning(
    model: nn.Module,
    network: Network,
    shape: Sequence[int],
    ratio: float,
    divisor: int,
) -> None:
    """Cut every layer at one ratio, in place."""
    peer: Any = importlib.import_module('torch_pruning')
    graph = trace(model, network, shape)
    pruner = peer.pruner.BasePruner(
        model,
        torch.zeros(2, *shape, device=next(model.parameters()).device),
        importance=peer.importance.MagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=[
            module
            for name, module in model.named_modules()
            if isinstance(module, (nn.Conv2d, nn.Linear))
            and not _is_free(graph, name)
        ],
        round_to=divisor,
    )
    pruner.step()


def _is_free(graph: mmdhp.ChannelGraph, name: str) -> bool:
    """Whether a layer's outputs can go, one by one."""
    units = graph.axis_units.get((f'{name}.weight', 0), np.empty(0, int))
    free = units < graph.num_units
    return bool(free.any()) and len(np.unique(units)) == len(units)
