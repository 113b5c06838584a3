"""Tracing against building Torch-Pruning's dependency graph.

Both analyse the same network on the same inputs in one process, in turns.
`mmdhp.trace` finds groups, frozen channels with reasons and costs;
`DependencyGraph.build_dependency` finds the dependencies of layers. Memory is
the rise of the process while it does so, in a process of its own.
"""

import argparse
import functools
import importlib.util
import re
import warnings
from collections.abc import Sequence
from typing import Any, Callable

import torch
from model_zoo.entry import Entry, images
from model_zoo.libraries import LIBRARIES, entries_of
from model_zoo.process import brief
from torch import Tensor, nn

import mmdhp
from mmdhp.graph import call_model
from mmdhp.text import amount, table

from .measuring import (
    MeasurementError,
    add_options,
    milliseconds,
    peak_memory,
    prepare,
    ratios,
    spread,
    timed,
)

_MMPRETRAIN: dict[str, dict[str, Any]] = {
    'ResNet 50': dict(type='ResNet', depth=50),
    'SEResNet 50': dict(type='SEResNet', depth=50),
    'RegNet x_1.6gf': dict(type='RegNet', arch='regnetx_1.6gf'),
    'MobileNetV3 large': dict(type='MobileNetV3', arch='large'),
    'ShuffleNetV2': dict(type='ShuffleNetV2'),
    'HRNet w18': dict(type='HRNet', arch='w18'),
    'CSPDarkNet 53': dict(type='CSPDarkNet', depth=53),
    'ConvNeXt tiny': dict(type='ConvNeXt', arch='tiny'),
}
_TORCHVISION = (
    'resnet50',
    'mobilenet_v2',
    'densenet121',
    'efficientnet_b0',
    'inception_v3',
    'vgg16_bn',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument(
        '--library',
        choices=LIBRARIES,
        help='everything that this library holds, instead of a dozen '
        'networks of MMPretrain and torchvision',
    )
    parser.add_argument(
        '--filter',
        type=re.compile,
        default=re.compile(''),
        metavar='REGEX',
        help='only networks whose name this matches, such as "resnet"',
    )
    add_options(parser, 5)


def run(args: argparse.Namespace) -> None:
    """Measure and print; memory first, since it forks the process."""
    if importlib.util.find_spec('torch_pruning') is None:
        raise SystemExit(
            'error: Torch-Pruning is not installed, to which tracing is '
            'compared: pip install torch-pruning==1.6.1'
        )
    entries = entries_of(args.library) if args.library else chosen()
    entries = [e for e in entries if args.filter.search(e.name)]
    if not entries:
        raise SystemExit(f'error: no network matches {args.filter.pattern!r}.')
    warnings.simplefilter('ignore')  # of Torch-Pruning, per parameter
    memory = [
        [peak(build, entry, args.device) for build in (ours, theirs)]
        for entry in entries
    ]
    prepare(args)
    rows = [row(e, m, args) for e, m in zip(entries, memory)]
    header = ['network', 'parameters', 'mmdhp ms', 'Torch-Pruning ms']
    header += ['mmdhp / Torch-Pruning', 'mmdhp MiB', 'Torch-Pruning MiB']
    print(table(rows, header))


def chosen() -> list[Entry]:
    """A dozen networks of different kinds."""
    registry = importlib.import_module('mmpretrain.registry').MODELS
    models = importlib.import_module('torchvision.models')
    entries = [
        Entry(
            'mmpretrain',
            name,
            '',
            functools.partial(
                registry.build,
                {**config, 'type': f'mmpretrain.{config["type"]}'},
            ),
            images(224),
        )
        for name, config in _MMPRETRAIN.items()
    ]
    return entries + [
        Entry(
            'torchvision',
            name,
            '',
            functools.partial(models.get_model, name, weights=None),
            images(299 if 'inception' in name else 224),
        )
        for name in _TORCHVISION
    ]


def built(entry: Entry, device: torch.device) -> nn.Module:
    """The network, to be evaluated."""
    torch.manual_seed(0)
    model = entry.build().to(device)
    model.eval()  # OpenMMLab's backbones return nothing here
    return model


# -------------------------------------------------------------------- the two
def ours(model: nn.Module, inputs: tuple, entry: Entry) -> Any:
    """The channel graph."""
    return mmdhp.trace(model, inputs, forward=entry.forward)


def theirs(model: nn.Module, inputs: tuple, entry: Entry) -> Any:
    """Torch-Pruning's dependency graph."""
    graph = importlib.import_module('torch_pruning').DependencyGraph()
    forward = entry.forward or call_model
    return graph.build_dependency(model, inputs, forward, verbose=False)


def row(
    entry: Entry, memory: Sequence[str], args: argparse.Namespace
) -> list[str]:
    """Cells of one network; says what fails, and why."""
    model = built(entry, args.device)
    count = amount(sum(p.numel() for p in model.parameters()))
    try:
        inputs = inputs_of(model, entry, args.device)
        calls = [
            functools.partial(build, model, inputs, entry)
            for build in (ours, theirs)
        ]
        own, peer = seconds_of(calls, args)
    except Exception as error:  # whatever a model or the peer raises
        return [entry.name, count, brief(error), '-', '-', *memory]
    both = spread(ratios(own, peer)) if peer else '-'
    cells = [milliseconds(own), milliseconds(peer) if peer else 'fails', both]
    return [entry.name, count, *cells, *memory]


def seconds_of(
    calls: Sequence[Callable], args: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """Seconds of ours and of theirs; nothing of theirs if it fails."""
    try:
        own, peer = timed(calls, args)
    except Exception:  # Torch-Pruning's: ours is tried again, alone
        (own,) = timed(calls[:1], args)
        peer = []
    return own, peer


def inputs_of(
    model: nn.Module, entry: Entry, device: torch.device
) -> tuple[Tensor, ...]:
    """The first of the entry's inputs on which the model runs."""
    problem: BaseException = ValueError('no inputs')
    for shapes in entry.inputs:
        inputs = tuple(torch.rand(shape, device=device) for shape in shapes)
        try:
            with torch.no_grad():
                (entry.forward or call_model)(model, inputs)
        except Exception as error:  # of the wrong shape
            problem = error
        else:
            return inputs
    raise problem


def peak(build: Callable, entry: Entry, device: torch.device) -> str:
    """Memory of one of both, in MiB."""

    def ready() -> Callable[[], Any]:
        model = built(entry, device)
        inputs = inputs_of(model, entry, device)
        return functools.partial(build, model, inputs, entry)

    try:
        return f'{peak_memory(ready, device):.0f}'
    except MeasurementError:
        return 'fails'
