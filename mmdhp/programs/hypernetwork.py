"""DHP's weight program: one latent hypernetwork for a whole network.

Source: Li et al., DHP: Differentiable Meta Pruning via HyperNetworks, ECCV
2020, arXiv:2003.13683. The paper evaluates a small hypernetwork per layer. All
of them are the same linear map per *connection*, that is, per pair of output
and input channel, so here all P connections of one kernel size are one
tensor. P is the last axis: every operation below is a long, contiguous run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from mmdhp.graph import ChannelGraph, GraphError


@dataclass(frozen=True)
class GeneratedWeight:
    """A weight that the hypernetwork writes.

    Args:
        name (str): State-dict name.
        parameter (nn.Parameter): The model's own parameter.
        first (Tensor): Latent of every position of axis 0, ``(n, )``.
        second (Tensor): Latent of every position of axis 1, ``(c, )``.
        fan_in (int): Input channels that one output sees.
    """

    name: str
    parameter: nn.Parameter
    first: Tensor
    second: Tensor
    fan_in: int

    @property
    def connections(self) -> int:
        """Number of (axis 0, axis 1) pairs."""
        return len(self.first) * len(self.second)

    @property
    def positions(self) -> int:
        """Kernel positions k²."""
        return self.parameter.numel() // self.connections


class HyperBank(nn.Module):
    """The hypernetworks of all weights with one kernel size.

    For connection p between latents ``z[first[p]]`` and ``z[second[p]]``::

        s = z[first] * z[second] + b0        (P, )
        e = w1 * s + b1                      (m, P)
        w = Σ_m w2[m] * e[m] + b2            (k², P)

    Args:
        weights (Sequence[GeneratedWeight]): Weights of equal kernel size.
        embedding_dim (int): m.
    """

    def __init__(
        self, weights: Sequence[GeneratedWeight], embedding_dim: int
    ) -> None:
        super().__init__()
        self.weights = list(weights)
        like = weights[0].parameter
        k, m = weights[0].positions, embedding_dim
        total = sum(w.connections for w in weights)

        def uniform(bound: Tensor, *shape: int) -> nn.Parameter:
            draw = torch.empty(*shape, dtype=like.dtype).uniform_(-1, 1)
            return nn.Parameter(draw.mul_(bound).to(like.device))

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(like.new_zeros(shape))

        first = [w.first.repeat_interleave(len(w.second)) for w in weights]
        second = [w.second.repeat(len(w.first)) for w in weights]
        bound = torch.cat(
            [
                torch.full((w.connections,), math.sqrt(3 / (m * w.fan_in * k)))
                for w in weights
            ]
        )
        self.first: Tensor
        self.second: Tensor
        self.register_buffer(
            'first', torch.cat(first).to(like.device), persistent=False
        )
        self.register_buffer(
            'second', torch.cat(second).to(like.device), persistent=False
        )
        self.b0 = zeros(total)
        self.w1 = uniform(torch.tensor(math.sqrt(3)), m, total)
        self.b1 = zeros(m, total)
        self.w2 = uniform(bound.to(like.dtype), m, k, total)
        self.b2 = zeros(k, total)
        self._forward: Optional[tuple] = None
        self._grads: dict[str, Tensor] = {}

    def generate(self, latent: Tensor) -> Tensor:
        """All weights of this kernel size, shape ``(k², P)``."""
        self._forward = None  # its memory is needed again
        pair = (
            latent.index_select(0, self.first),
            latent.index_select(0, self.second),
        )
        scale = torch.addcmul(self.b0, *pair)  # (P,)
        embedding = torch.addcmul(self.b1, self.w1, scale)  # (m, P)
        out = self.b2.clone()
        for w2, e in zip(self.w2, embedding):  # no (m, k², P) temporary
            out.addcmul_(w2, e)
        self._forward = pair, scale, embedding
        return out

    def write(self, latent: Tensor) -> None:
        """Generate and copy into the model's weights, in place."""
        out = self.generate(latent)
        for weight, part in zip(self.weights, self._parts(out)):
            weight.parameter.view(part.shape).copy_(part)

    def collect(self) -> Tensor:
        """The model's weight gradients, ``(k², P)``; then clear them."""
        out = torch.empty_like(self.b2)
        for weight, part in zip(self.weights, self._parts(out)):
            grad = weight.parameter.grad
            if grad is None:  # the layer took no part in this step
                part.zero_()
            else:
                part.copy_(grad.reshape(part.shape))
            weight.parameter.grad = None
        return out

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """A ``(connections, k²)`` view per weight of a ``(k², P)`` tensor."""
        sizes = [weight.connections for weight in self.weights]
        return [part.t() for part in flat.split(sizes, dim=1)]

    def adjoint(self, latent: Tensor, grad: Tensor) -> Tensor:
        """Set this bank's gradients; return that of the latents.

        Args:
            latent (Tensor): The latents of the last :meth:`generate`.
            grad (Tensor): Gradient of the generated weights, ``(k², P)``.

        Returns:
            Tensor: Same shape as ``latent``.
        """
        if self._forward is None:
            raise RuntimeError('pull() before push(): no weights are out.')
        (first, second), scale, embedding = self._forward
        self._set('b2', grad)
        torch.mul(grad, embedding[:, None], out=self._buffer('w2'))
        d_embedding = self._buffer('b1').zero_()
        for j, row in enumerate(grad):
            d_embedding.addcmul_(self.w2[:, j], row)
        torch.mul(d_embedding, scale, out=self._buffer('w1'))
        d_scale = torch.zeros_like(scale)
        for w1, row in zip(self.w1, d_embedding):  # no (m, P) temporary
            d_scale.addcmul_(w1, row)
        self._set('b0', d_scale)
        out = torch.zeros_like(latent)
        out.index_add_(0, self.first, d_scale * second)
        out.index_add_(0, self.second, d_scale * first)
        return out

    def _buffer(self, name: str) -> Tensor:
        """Gradient of a parameter; its memory is kept between steps."""
        parameter = getattr(self, name)
        if name not in self._grads or (
            self._grads[name].device != parameter.device
        ):
            self._grads[name] = torch.empty_like(parameter)
        parameter.grad = self._grads[name]
        return self._grads[name]

    def _set(self, name: str, grad: Tensor) -> None:
        getattr(self, name).grad = grad


class HyperNetwork(nn.Module):
    """Generates a network's weights from one latent per channel unit.

    The network itself is never changed in class or key: :meth:`push` writes
    its weights, :meth:`pull` turns their gradients into this module's. Both
    are exact, see DHP §3: pull is the adjoint of the generation.

    Latents start as N(0, 1), ``w1`` with variance 1 and ``w2`` by hyperfan-in,
    so that generated weights have variance ``1 / (fan_in · k²)``.

    Args:
        model (nn.Module): The traced network.
        graph (ChannelGraph): Its graph.
        embedding_dim (int): Size m of the embedding. Defaults to 8.

    Attributes:
        latent (nn.Parameter): One per unit: ``U`` prunable ones, then frozen
            ones; shape ``(U + F + 1, )``.

    Raises:
        GraphError: If no weight of the model can be generated.
    """

    def __init__(
        self, model: nn.Module, graph: ChannelGraph, embedding_dim: int = 8
    ) -> None:
        super().__init__()
        weights = generated_weights(model, graph)
        if not weights:
            raise GraphError(
                f'{type(model).__name__} has no trainable conv weight that '
                'was traced, so there is nothing to generate.'
            )
        like = weights[0].parameter
        count = graph.num_units + graph.num_frozen + 1
        draw = torch.randn(count, dtype=like.dtype)
        self.latent = nn.Parameter(draw.to(like.device))
        self.num_units = graph.num_units
        by_size: dict[int, list[GeneratedWeight]] = {}
        for weight in weights:
            by_size.setdefault(weight.positions, []).append(weight)
        self.banks = nn.ModuleDict(
            {
                str(size): HyperBank(members, embedding_dim)
                for size, members in sorted(by_size.items())
            }
        )

    @property
    def weights(self) -> list[GeneratedWeight]:
        """Everything that is generated."""
        return [weight for bank in self._all_banks for weight in bank.weights]

    @property
    def _all_banks(self) -> list[HyperBank]:
        return cast(list[HyperBank], list(self.banks.values()))

    @torch.no_grad()
    def push(self) -> None:
        """Generate all weights and write them into the model, in place."""
        for bank in self._all_banks:
            bank.write(self.latent)

    @torch.no_grad()
    def pull(self) -> None:
        """Turn the model's weight gradients into this module's, in place.

        Overwrites this module's gradients and clears the model's. Call once
        per optimizer step, after :meth:`push` and any number of backward
        passes, before clipping.
        """
        grad = torch.zeros_like(self.latent)
        for bank in self._all_banks:
            grad += bank.adjoint(self.latent, bank.collect())
        self.latent.grad = grad


def generated_weights(
    model: nn.Module, graph: ChannelGraph
) -> list[GeneratedWeight]:
    """Conv weights, and linear ones whose outputs can be pruned.

    A classifier keeps its outputs, so it stays an ordinary layer, as in the
    paper. Weights that do not require gradients stay as they are.
    """
    weights = []
    seen = set()
    for name, module in model.named_modules():
        weight = getattr(module, 'weight', None)
        key = f'{name}.weight' if name else 'weight'
        units = [graph.axis_units.get((key, axis)) for axis in (0, 1)]
        if (
            not isinstance(module, (_ConvNd, nn.Linear))
            or not isinstance(weight, nn.Parameter)
            or not weight.requires_grad
            or id(weight) in seen
            or any(u is None for u in units)
        ):
            continue
        first, second = (torch.from_numpy(u) for u in units)
        if isinstance(module, nn.Linear) and (first >= graph.num_units).all():
            continue
        seen.add(id(weight))
        fan_in = weight.shape[1]
        if isinstance(module, _ConvTransposeNd):
            fan_in = weight.shape[0] // module.groups
        weights.append(GeneratedWeight(key, weight, first, second, fan_in))
    return weights
