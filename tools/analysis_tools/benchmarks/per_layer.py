"""DHP's hypernetworks as the paper draws them: one per layer, by autograd.

Source: Li et al., DHP, ECCV 2020, arXiv:2003.13683, §3.1. It computes what
:class:`mmdhp.programs.HyperNetwork` does, from the same numbers.
"""

import torch
from torch import Tensor, nn

from mmdhp.programs import HyperNetwork


class LayerHyperNetwork(nn.Module):
    """Latent, embedding and explicit layer of one conv.

    For ``n`` output and ``c`` input channels, kernel positions k², and an
    embedding of size m::

        Z = z_out · z_inᵀ + b0              (n, c)
        E = Z[..., None] * w1 + b1          (n, c, m)
        W = w2 · E[..., None] + b2          (n, c, k²)

    Args:
        b0 (Tensor): Shape ``(n, c)``.
        w1 (Tensor): Shape ``(n, c, m)``.
        b1 (Tensor): Shape ``(n, c, m)``.
        w2 (Tensor): Shape ``(n, c, k², m)``.
        b2 (Tensor): Shape ``(n, c, k²)``.
    """

    def __init__(
        self, b0: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
    ) -> None:
        super().__init__()
        self.b0 = nn.Parameter(b0.clone())
        self.w1 = nn.Parameter(w1.contiguous())
        self.b1 = nn.Parameter(b1.contiguous())
        self.w2 = nn.Parameter(w2.contiguous())
        self.b2 = nn.Parameter(b2.contiguous())

    def forward(self, z_out: Tensor, z_in: Tensor) -> Tensor:
        """Weight of shape ``(n, c, k²)`` from ``(n, )`` and ``(c, )``."""
        latent = torch.outer(z_out, z_in) + self.b0
        embedding = latent[..., None] * self.w1 + self.b1
        explicit = torch.matmul(self.w2, embedding[..., None])
        return explicit.squeeze(-1) + self.b2


class PerLayer(nn.Module):
    """Generates all weights of a network, layer by layer.

    Args:
        program (HyperNetwork): Whose numbers are copied.
    """

    def __init__(self, program: HyperNetwork) -> None:
        super().__init__()
        self.latent = nn.Parameter(program.latent.detach().clone())
        self.layers = nn.ModuleList()
        self.units: list[tuple[Tensor, Tensor]] = []
        self.shapes: list[torch.Size] = []
        device = self.latent.device
        for bank in program.banks.values():
            start = 0
            for weight in bank.weights:
                stop = start + weight.connections
                n, c = len(weight.first), len(weight.second)
                part = {
                    name: value.detach()[..., start:stop]
                    for name, value in bank.named_parameters()
                }
                self.layers.append(LayerHyperNetwork(**_by_layer(part, n, c)))
                units = weight.first.to(device), weight.second.to(device)
                self.units.append(units)
                self.shapes.append(weight.parameter.shape)
                start = stop

    def forward(self) -> list[Tensor]:
        """All weights, in the order of the program's."""
        return [
            layer(self.latent[out], self.latent[into]).reshape(shape)
            for layer, (out, into), shape in zip(
                self.layers, self.units, self.shapes
            )
        ]


def _by_layer(part: dict[str, Tensor], n: int, c: int) -> dict[str, Tensor]:
    """Connections from last axis to first two: ``(..., P)`` → (n, c, ...)."""
    axes = {'b0': (), 'w1': (0,), 'b1': (0,), 'w2': (1, 0), 'b2': (0,)}
    found = {}
    for name, value in part.items():
        split = value.unflatten(-1, (n, c))
        last = split.dim() - 2
        found[name] = split.permute(last, last + 1, *axes[name])
    return found
