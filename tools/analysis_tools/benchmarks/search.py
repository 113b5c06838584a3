"""A search step against a plain training step of the same network.

Every round times one plain step and one search step on the same inputs. For
LW-DNA, both networks are widened by 2.
"""

import argparse
from typing import Any, Callable

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from mmdhp.engine import PruningOptimWrapperConstructor
from mmdhp.surgery import widen
from mmdhp.text import table

from .measuring import (
    add_names,
    add_options,
    check_names,
    milliseconds,
    prepare,
    ratios,
    spread,
    timed,
)
from .networks import (
    NETWORKS,
    Network,
    build,
    plain_wrapper,
    trace,
    training_step,
)

METHODS: dict[str, dict[str, Any]] = {
    'dhp': dict(type='mmdhp.DHP', target=dict(macs=0.4), regularization=1e-4),
    'hsn': dict(type='mmdhp.HSN', target=dict(macs=0.4)),
    'lwdna': dict(type='mmdhp.LWDNA', target=dict(macs=0.9)),
}
_WIDER = {'lwdna': 2}
_DEFAULT = ('resnet56', 'resnet50', 'srresnet', 'edsr', 'dncnn')
_PROFILED = 5  # steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    add_names(parser, tuple(NETWORKS), _DEFAULT)
    parser.add_argument(
        '--method',
        choices=METHODS,
        nargs='+',
        default=['dhp'],
        help='one or several (default: dhp)',
    )
    parser.add_argument(
        '--batch',
        type=int,
        help="batch size (default: the paper's on a GPU, on a CPU what takes "
        'seconds)',
    )
    parser.add_argument(
        '--profile',
        action='store_true',
        help='also print the operators that a search step spends its time in',
    )
    add_options(parser, 15)


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    check_names(args.networks, tuple(NETWORKS))
    prepare(args)
    rows = []
    for name in args.networks:
        for method in args.method:
            network = NETWORKS[name]
            steps, batch = pair(network, method, args)
            times = timed(steps, args, warm_up=2)
            rows.append(row(name, method, network, batch, times))
            if args.profile:
                print(profiled(steps[1], args.device))
    header = ['network', 'method', 'input', 'batch of the paper']
    header += ['plain ms', 'search ms', 'ratio (quartiles)']
    print(table(rows, header))


def row(
    name: str,
    method: str,
    network: Network,
    batch: Tensor,
    times: list[list[float]],
) -> list[str]:
    """Cells of one network and method."""
    plain, search = times
    return [
        name,
        method,
        'x'.join(map(str, batch.shape)),
        str(network.batch),
        milliseconds(plain),
        milliseconds(search),
        spread(ratios(search, plain)),
    ]


def pair(
    network: Network, method: str, args: argparse.Namespace
) -> tuple[list[Callable[[], None]], Tensor]:
    """A plain step and a search step of equal networks, and their inputs."""
    size = network.size(args.device, args.batch)
    batch = torch.rand(size, *network.shape, device=args.device)
    plain, searched = (
        model_of(network, method, args.device) for _ in range(2)
    )
    wrapper = plain_wrapper(plain, network.optimizer)
    steps = [
        training_step(plain, wrapper, batch),
        search_step(searched, network, method, batch),
    ]
    return steps, batch


def model_of(network: Network, method: str, device: torch.device) -> nn.Module:
    """The network, as wide as the method searches it."""
    model = build(network, device)
    factor = _WIDER.get(method)
    if factor:
        widen(model, trace(model, network), factor)
    return model


def search_step(
    model: nn.Module, network: Network, method: str, batch: Tensor
) -> Callable[[], None]:
    """A step of a search, as the Runner runs it."""
    wrapper = searching(model, network, method)
    return training_step(model, wrapper, batch, wrapper.pruner.set_mode)


def searching(model: nn.Module, network: Network, method: str) -> Any:
    """The wrapper of a search that has just begun."""
    pruner = dict(
        input_shape=network.shape,
        groups=network.groups,
        exclude=network.exclude,
        **METHODS[method],
    )
    cfg = dict(optimizer=network.optimizer, pruner=pruner)
    wrapper = PruningOptimWrapperConstructor(cfg)(model)
    wrapper.has_hook = True  # nothing here ends the search
    wrapper.pruner.enter(model)
    wrapper.pruner.push()
    return wrapper


def profiled(step: Callable[[], None], device: torch.device) -> str:
    """Operators of some steps, the dearest first."""
    activities = [ProfilerActivity.CPU]
    key = 'self_cpu_time_total'
    if device.type == 'cuda':
        activities.append(ProfilerActivity.CUDA)
        key = 'self_device_time_total'
    with profile(activities=activities) as found:
        for _ in range(_PROFILED):
            step()
    return found.key_averages().table(sort_by=key, row_limit=15)
