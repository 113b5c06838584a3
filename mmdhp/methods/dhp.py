"""DHP: differentiable meta pruning via latent hypernetworks.

Source: Li et al., DHP: Differentiable Meta Pruning via HyperNetworks, ECCV
2020, arXiv:2003.13683.
"""

from typing import Any, Optional

import torch
from torch import Tensor, nn

from mmdhp.programs import HyperNetwork, generated_weights
from mmdhp.registry import PRUNERS

from .base import Progress, Pruner
from .selection import check_finite, threshold_mask

REGULARIZERS = ('l1', 'l2')
_BISECTIONS = 30


@PRUNERS.register_module()
class DHP(Pruner):
    """Search with latent hypernetworks and proximal gradient.

    Every conv weight is generated from the latents of its input and output
    channels. After every optimizer step the proximal operator of ``λ·R(z)``
    shrinks the latents ``z`` with step ``λ·μ``, where μ is the learning rate.
    A unit counts as pruned where ``|z| < τ``; the search may stop as soon as
    the ratio is at most ``target + stop_limit``. The final mask takes the
    global threshold on ``|z|`` that meets the target exactly, where the
    authors' code keeps τ and misses it by up to ``stop_limit``.

    Args:
        target (dict): See :class:`Pruner`.
        input_shape (Sequence[int]): See :class:`Pruner`.
        regularization (float, optional): λ. By default it is chosen such
            that the proximal operator alone reaches the target after 80 % of
            the search's learning rates, since a good λ depends on them and on
            the length.
        regularizer (str): ``'l1'``, or ``'l2'`` (not squared, the latents of
            a group as one vector). Defaults to ``'l1'``.
        threshold (float): τ. Defaults to 5e-3.
        stop_limit (float): Defaults to 0.02.
        embedding_dim (int): Size of the embedding. Defaults to 8.
        **kwargs: See :class:`Pruner`.
    """

    def __init__(
        self,
        target: dict,
        input_shape: tuple,
        *,
        regularization: Optional[float] = None,
        regularizer: str = 'l1',
        threshold: float = 5e-3,
        stop_limit: float = 0.02,
        embedding_dim: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(target, input_shape, **kwargs)
        if regularizer not in REGULARIZERS:
            raise ValueError(
                f'regularizer is {regularizer!r}; there are {REGULARIZERS}.'
            )
        numbers = {
            'regularization': 0.0
            if regularization is None
            else regularization,
            'threshold': threshold,
            'stop_limit': stop_limit,
        }
        for key, value in numbers.items():
            if not 0 <= value < float('inf'):
                raise ValueError(
                    f'{key} is {value}, but a number of at least 0 is needed.'
                )
        if embedding_dim < 1:
            raise ValueError(f'embedding_dim is {embedding_dim}, below 1.')
        self.regularization = regularization
        self.regularizer = regularizer
        self.threshold = threshold
        self.stop_limit = stop_limit
        self.embedding_dim = embedding_dim

    program: HyperNetwork

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

    def plan(self, steps: int, lr: float) -> None:
        """Choose λ from the length of the search, if none was given."""
        if self.regularization is None:
            rates = 0.8 * max(steps, 1) * lr
            self.regularization = self._distance() / rates if rates else 0.0

    def _distance(self) -> float:
        """Smallest sum of steps ``λ·μ`` that alone reaches the target."""
        latent = self.latent
        low, high = 0.0, float(latent.norm())
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            shrunk = self._proximal(latent, middle).abs().cpu()
            if self._progress(shrunk).reached:
                high = middle
            else:
                low = middle
        return high

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

    @torch.no_grad()
    def after_step(self, lr: float) -> None:
        """Proximal step on every group above its floor, then generate.

        Once a group has only as many latents of at least τ as its floor, the
        operator leaves it alone; gradients still move it.
        """
        latent = self.latent
        alive = (latent.abs() >= self.threshold).long()
        count = torch.zeros_like(self._floor_of_group)
        count.index_add_(0, self._group, alive)
        active = (count > self._floor_of_group)[self._group]
        shrunk = self._proximal(latent, (self.regularization or 0.0) * lr)
        latent.copy_(torch.where(active, shrunk, latent))
        self.push()

    def _proximal(self, latent: Tensor, step: float) -> Tensor:
        """Proximal operator of ``step · R``, shape ``(U, )``."""
        if self.regularizer == 'l1':
            return latent.sign() * (latent.abs() - step).clamp(min=0)
        square = latent.new_zeros(len(self._floor_of_group))
        norm = square.index_add(0, self._group, latent**2).sqrt()
        scale = 1 - step / norm.clamp(min=step) if step else norm * 0 + 1
        return latent * scale[self._group]

    def scores(self) -> Tensor:
        """Magnitude of the latents, on the CPU."""
        return self.latent.abs().cpu()

    def progress(self) -> Progress:
        """Ratios of the mask ``|z| >= τ``, floors respected."""
        return self._progress(self.scores())

    def _progress(self, scores: Tensor) -> Progress:
        check_finite(scores, self.graph)
        keep = threshold_mask(scores, self.graph, self.threshold, self.floors)
        macs, params = self.ratios(keep)
        ratio = params if self.target.quantity == 'params' else macs
        reached = ratio - self.target.ratio <= self.stop_limit
        return Progress(macs, params, reached)

    def state_dict(self) -> dict[str, Any]:
        """The hypernetwork and the λ in use."""
        state = super().state_dict()
        return {**state, 'regularization': self.regularization}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the hypernetwork and the λ in use."""
        super().load_state_dict(state)
        self.regularization = state['regularization']
