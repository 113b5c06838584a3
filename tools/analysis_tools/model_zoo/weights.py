"""Weights and statistics behind which no channel hides."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.spectral_norm import SpectralNorm

from mmdhp.graph import call_model

from .entry import Entry

_POWER_ITERATIONS = 10


@torch.no_grad()
def randomise(model: nn.Module) -> None:
    """Give parameters values behind which no channel hides, in place.

    Zeros (residual scales, position tables) and ones (norms) would hide that
    a wrong channel was cut; weights too small would drown it on its way to
    the output.
    """
    for module in model.modules():
        if isinstance(module, (_ConvNd, nn.Linear)):
            fan_in = max(module.weight[0].numel(), 1)
            module.weight.normal_(0, (2 / fan_in) ** 0.5)
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or not parameter.numel():
            continue
        low, high = parameter.aminmax()
        if parameter.dim() == 1 and name.endswith('weight'):
            parameter.uniform_(0.5, 1.5)
        elif not 1e-3 < max(abs(low), abs(high)) < 1e3:  # or uninitialised
            parameter.normal_(0, 0.3)
        elif low == high:
            parameter.mul_(torch.empty_like(parameter).uniform_(0.5, 1.5))
    settle_spectral_norms(model)


def settle_spectral_norms(model: nn.Module) -> None:
    """Let them know their weights, in place; unsettled, they amplify."""
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                for _ in range(_POWER_ITERATIONS):
                    hook.compute_weight(module, do_power_iteration=True)


@torch.no_grad()
def calibrate(entry: Entry, model: nn.Module, inputs: Any) -> None:
    """Set batch norms to the statistics of these inputs, in place."""
    norms = [
        m
        for m in model.modules()
        if isinstance(m, _BatchNorm) and m.running_var is not None
    ]
    saved = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        call_model(model, inputs, entry.forward)
    except ValueError:  # one value per channel has no variance
        pass
    finally:
        for norm, momentum in zip(norms, saved):
            norm.eval()
            norm.momentum = momentum
            norm.running_var += 0.1 * norm.running_var.mean() + 1e-3
