"""What methods with latent hypernetworks share: variables and their step."""

from typing import Any, Optional

import torch
from torch import Tensor, nn

from mmdhp.programs import HyperNetwork, generated_weights

from .base import Pruner
from .options import check_choices, check_int, check_number

REGULARIZERS = ('l1', 'l2')


class LatentPruner(Pruner):
    """A pruner whose search trains one hypernetwork for the whole model.

    Every conv weight is generated from the latents ``z`` of its input and
    output channels. After every optimizer step the proximal operator of
    ``λ·R(z)`` may shrink the latents with step ``λ·μ``, where μ is the
    learning rate.

    Args:
        target (dict): See :class:`Pruner`.
        input_shape (Sequence[int]): See :class:`Pruner`.
        regularization (float, optional): λ; no proximal step by default.
        regularizer (str): ``'l1'``, or ``'l2'`` (not squared, the latents of
            a group as one vector). Defaults to ``'l1'``.
        threshold (float): τ, below which a latent does not count. Defaults to
            5e-3.
        embedding_dim (int): Size m of the embedding. Defaults to 8.
        weight_lr (float, optional): Factor of the learning rate for all
            variables but the latents. By default 1 / (1 + m): the bias and m
            products with a variance of 1 make a weight, so at equal rates it
            would move (1 + m) times as far as a plain one. The authors' code
            has 1.
        **kwargs: See :class:`Pruner`.
    """

    program: HyperNetwork

    def __init__(
        self,
        target: dict,
        input_shape: tuple,
        *,
        regularization: Optional[float] = None,
        regularizer: str = 'l1',
        threshold: float = 5e-3,
        embedding_dim: int = 8,
        weight_lr: Optional[float] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(target, input_shape, **kwargs)
        check_choices(
            {'regularizer': regularizer}, {'regularizer': REGULARIZERS}
        )
        if regularization is not None:
            check_number('regularization', regularization, 0)
        check_number('threshold', threshold, 0)
        check_int('embedding_dim', embedding_dim, 1)
        self.regularization = regularization
        self.regularizer = regularizer
        self.threshold = threshold
        self.embedding_dim = embedding_dim
        if weight_lr is None:
            weight_lr = 1 / (1 + embedding_dim)
        check_number('weight_lr', weight_lr, 0)
        self.weight_lr = weight_lr

    def blind_groups(self, model: nn.Module) -> list[str]:
        """Groups of layers whose weights cannot be generated."""
        reached = self.graph.full() & False
        for weight in generated_weights(model, self.graph):
            for units in (weight.first, weight.second):
                reached[units[units < len(reached)]] = True
        return [
            group.name
            for group in self.graph.groups
            if not reached[group.start : group.stop].any()
        ]

    def build_program(self, model: nn.Module) -> HyperNetwork:
        """One hypernetwork for the whole model."""
        program = HyperNetwork(model, self.graph, self.embedding_dim)
        self._group = self.graph.group_of_unit.to(program.latent.device)
        self._floor_of_group = self.floors.to(program.latent.device)
        return program

    def variable_groups(self, lr: float) -> list[dict[str, Any]]:
        """Everything that the latents are multiplied with; the latents."""
        latent = self.program.latent
        others = [p for p in self.program.parameters() if p is not latent]
        return [
            {'params': others, 'lr': self.weight_lr * lr},
            {'params': [latent]},
        ]

    @property
    def latent(self) -> Tensor:
        """Latents of the prunable units, shape ``(U, )``."""
        return self.program.latent.detach()[: self.graph.num_units]

    def push(self) -> None:
        """Generate all weights."""
        self.program.push()

    def pull(self) -> None:
        """Gradients of generated weights → of the hypernetwork."""
        self.program.pull()

    def vitals(self) -> dict[str, Tensor]:
        """The latents and, before them, the gradients that moved them."""
        gradient = self.program.latent.grad
        latent = {'latents': self.latent}
        if gradient is None:
            return latent
        own = gradient[: self.graph.num_units]
        return {'gradients of the latents': own, **latent}

    @torch.no_grad()
    def after_step(self, lr: float) -> None:
        """Proximal step on every group above its floor, then generate.

        Once a group has only as many latents of at least τ as its floor, the
        operator leaves it alone; gradients still move it.
        """
        step = (self.regularization or 0.0) * lr
        if step:
            latent = self.latent
            alive = (latent.abs() >= self.threshold).long()
            count = torch.zeros_like(self._floor_of_group)
            count.index_add_(0, self._group, alive)
            active = (count > self._floor_of_group)[self._group]
            shrunk = self._proximal(latent, step)
            latent.copy_(torch.where(active, shrunk, latent))
        self.push()

    def _proximal(self, latent: Tensor, step: float) -> Tensor:
        """Proximal operator of ``step · R``, shape ``(U, )``."""
        if self.regularizer == 'l1':
            return latent.sign() * (latent.abs() - step).clamp(min=0)
        square = latent.new_zeros(len(self._floor_of_group))
        norm = square.index_add(0, self._group, latent**2).sqrt()
        scale = 1 - step / norm.clamp(min=step)
        return latent * scale[self._group]
