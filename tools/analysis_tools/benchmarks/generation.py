"""DHP's weights and their gradients: one flat hypernetwork or one per layer.

Compares `push` and `pull` of the flat hypernetwork with a plain
implementation of the paper: an outer product, an embedding and an explicit
layer per conv, differentiated by autograd. Both start with the same numbers
and gradients. Memory is what a step needs beyond the parameters, gradients
of which are in it.
"""

import argparse
from typing import Any, Callable

import torch
from torch import Tensor, nn

from mmdhp.programs import HyperNetwork
from mmdhp.text import amount, table

from .measuring import (
    add_names,
    add_options,
    check_names,
    milliseconds,
    peak_memory,
    prepare,
    ratios,
    spread,
    timed,
)
from .networks import NETWORKS, Network, build, trace
from .per_layer import PerLayer

_DEFAULT = ('resnet20', 'resnet56', 'resnet110', 'resnet164', 'srresnet')
_KINDS = ('flat', 'per layer')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    add_names(parser, tuple(NETWORKS), _DEFAULT)
    add_options(parser, 15)


def run(args: argparse.Namespace) -> None:
    """Measure and print; memory first, since it forks the process."""
    check_names(args.networks, tuple(NETWORKS))
    memory = {
        name: [
            peak_memory(
                lambda k=kind, n=name: step_of(k, n, args.device), args.device
            )
            for kind in _KINDS
        ]
        for name in args.networks
    }
    prepare(args)
    rows = [row(name, memory[name], args) for name in args.networks]
    header = ['network', 'weights', 'flat ms', 'per layer ms']
    header += ['per layer / flat (quartiles)', 'flat MiB', 'per layer MiB']
    print(table(rows, header))


def row(name: str, memory: list[float], args: argparse.Namespace) -> list[str]:
    """Cells of one network."""
    model, program = generated(NETWORKS[name], args.device)
    steps = [flat_step(program), layer_step(program)]
    flat, layered = timed(steps, args, warm_up=2)
    return [
        name,
        amount(sum(w.parameter.numel() for w in program.weights)),
        milliseconds(flat),
        milliseconds(layered),
        spread(ratios(layered, flat)),
        *(f'{peak:.0f}' for peak in memory),
    ]


def generated(
    network: Network, device: torch.device
) -> tuple[nn.Module, HyperNetwork]:
    """A network and the hypernetwork of its weights."""
    model = build(network, device)
    return model, HyperNetwork(model, trace(model, network))


def gradients(program: HyperNetwork) -> list[Tensor]:
    """Made-up gradients of the weights."""
    torch.manual_seed(1)
    return [torch.randn_like(w.parameter) for w in program.weights]


def flat_step(program: HyperNetwork) -> Callable[[], None]:
    """Weights into the model, their gradients into the hypernetwork."""
    parameters = [weight.parameter for weight in program.weights]
    grads = gradients(program)

    def step() -> None:
        program.push()
        for parameter, grad in zip(parameters, grads):
            parameter.grad = grad
        program.pull()
        program.zero_grad()

    return step


def layer_step(program: HyperNetwork) -> Callable[[], None]:
    """The same, layer by layer, by autograd."""
    layers, grads = PerLayer(program), gradients(program)

    def step() -> None:
        torch.autograd.backward(layers(), grads)
        layers.zero_grad()

    return step


def step_of(kind: str, name: str, device: torch.device) -> Callable[[], Any]:
    """Two steps of one of both, for its memory."""
    model, program = generated(NETWORKS[name], device)
    step = flat_step(program) if kind == 'flat' else layer_step(program)

    def twice() -> nn.Module:
        step()
        step()
        return model

    return twice
