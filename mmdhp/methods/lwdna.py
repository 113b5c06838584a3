"""LW-DNA: widen, shrink once, train from scratch.

Source: Li et al., The Heterogeneity Hypothesis: Finding Layer-Wise
Differentiated Network Architectures, CVPR 2021, arXiv:2006.16242.
"""

import warnings
from typing import Any, Optional

import torch
from torch import Tensor, nn

from mmdhp.graph import ChannelGraph
from mmdhp.programs import HyperNetwork
from mmdhp.registry import PRUNERS
from mmdhp.surgery import Initialiser, baseline_of, seed_of

from .latent import LatentPruner
from .limits import Limits, is_floor
from .options import check_choices

CHOICES = {
    'score': ('mean_gradient', 'last_gradient', 'latent'),
    'normalize': ('max', None),
    'weights': ('new', 'generated'),
}


@PRUNERS.register_module()
class LWDNA(LatentPruner):
    """Find layer-wise widths by one cut of a widened network.

    A hypernetwork generates the weights of a network that ``mmdhp.Widened``
    has made wider than its baseline. A short warm-up tells how much the loss
    depends on the latent ``z`` of every channel; one global threshold on
    these scores then meets the target, a fraction of the *baseline's* cost.
    The narrow network is trained from scratch.

    Args:
        target (dict): See :class:`Pruner`; ``dict(macs=1.0)`` is as dear as
            the baseline.
        input_shape (Sequence[int]): See :class:`Pruner`.
        score (str): ``'mean_gradient'``, |mean of ∂L/∂z over the warm-up|;
            ``'last_gradient'``, |∂L/∂z| of its last step, as the authors'
            code means to take; ``'latent'``, |z|, as it does take for
            ResNets. A group without any gradient goes by ``'latent'``.
            Defaults to ``'mean_gradient'``.
        normalize (str, optional): ``'max'`` divides the scores of a group by
            the largest of them, so that groups of which many layers make use
            are not preferred; None compares them as they are. Defaults to
            ``'max'``.
        weights (str): What training starts from: ``'new'`` draws all
            parameters anew, as the architecture initialises itself;
            ``'generated'`` keeps those of the warm-up, as the authors' code
            does. Defaults to ``'new'``.
        min_channels (int | float): As for :class:`Pruner`; a fraction is one
            of the widened group. Defaults to 0.25.
        classifier_floor (float, optional): What replaces ``min_channels`` for
            the groups that a linear classifier reads. Defaults to None, the
            same.
        **kwargs: See :class:`LatentPruner` and :class:`Pruner`.
    """

    search_fraction = 0.01
    fills_budget = True

    def __init__(
        self,
        target: dict,
        input_shape: tuple,
        *,
        score: str = 'mean_gradient',
        normalize: Optional[str] = 'max',
        weights: str = 'new',
        min_channels: float = 0.25,
        classifier_floor: Optional[float] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            target, input_shape, min_channels=min_channels, **kwargs
        )
        given = {'score': score, 'normalize': normalize, 'weights': weights}
        check_choices(given, CHOICES)
        if classifier_floor is not None and not is_floor(classifier_floor):
            raise ValueError(
                f'classifier_floor is {classifier_floor!r}, but a number of '
                'channels (an int of at least 1), a fraction of the widened '
                'group (a float in (0, 1)) or None is needed.'
            )
        self.score = score
        self.normalize = normalize
        self.draws_weights = weights == 'new'
        self.classifier_floor = classifier_floor
        self._own_floors = self.limits.floors

    def resolve_floors(self, model: nn.Module) -> Tensor:
        """Floors of all groups.

        The classifier's comes before the user's, and what could not be
        widened keeps its width.
        """
        if self.classifier_floor is not None:
            read = classifier_inputs(model, self.graph)
            self.limits = Limits(
                self.limits.min_channels,
                {
                    **dict.fromkeys(read, self.classifier_floor),
                    **self._own_floors,
                },
                self.limits.max_ratio,
            )
        floors = super().resolve_floors(model)
        if self.baseline is not self.graph:
            before, now = self.baseline.shapes, self.graph.shapes
            for index, group in enumerate(self.graph.groups):
                if all(
                    before[m.name][m.axis] == now[m.name][m.axis]
                    for m in group.members
                ):
                    floors[index] = group.size
        return floors

    def build_program(self, model: nn.Module) -> HyperNetwork:
        """The hypernetwork, and room for the gradients of its latents."""
        program = super().build_program(model)
        known = baseline_of(model)
        if known is None:
            warnings.warn(
                f'{type(model).__name__} is not widened, so no layer of it '
                "can grow. Build it as model=dict(type='mmdhp.Widened', "
                'architecture=..., factor=2, input_shape=...).',
                stacklevel=2,
            )
        self._initialiser = (
            Initialiser.of(model) if known is None else known.initialiser
        )
        self._gradient = torch.zeros_like(program.latent.detach())
        self._steps = 0
        return program

    def after_step(self, lr: float) -> None:
        """Note the latents' gradient of this step, then as in DHP.

        Here, not in :meth:`pull`, because only now it is known that the step
        happened, and a loss scale is gone. Gradient clipping is in it.
        """
        gradient = self.program.latent.grad
        assert gradient is not None
        if self.score == 'last_gradient':
            self._gradient.zero_()
            self._steps = 0
        self._gradient += gradient
        self._steps += 1
        super().after_step(lr)

    def scores(self) -> Tensor:
        """Scores of all units, normalised by group, on the CPU."""
        latent = self.latent.abs().cpu().double()
        if self.score == 'latent':
            return self._normalized(latent)
        count = self.graph.num_units
        score = self._gradient[:count].abs().cpu().double()
        score /= max(self._steps, 1)
        silent = self._largest(score) == 0
        return self._normalized(torch.where(silent, latent, score))

    def _largest(self, score: Tensor) -> Tensor:
        """Largest score of every unit's group, shape ``(U, )``."""
        group = self.graph.group_of_unit
        most = score.new_zeros(len(self.graph.groups))
        return most.scatter_reduce(0, group, score, 'amax')[group]

    def _normalized(self, score: Tensor) -> Tensor:
        if self.normalize is None:
            return score
        tiny = torch.finfo(score.dtype).tiny
        return score / self._largest(score).clamp(min=tiny)

    def after_cut(self, model: nn.Module, keep: Tensor) -> None:
        """Draw all parameters anew, the same ones for the same mask."""
        if self.draws_weights:
            self._initialiser.apply(model, seed_of(keep))

    def state_dict(self) -> dict[str, Any]:
        """The hypernetwork and the gradients so far."""
        gradient = self._gradient.cpu().clone()
        state = super().state_dict()
        return {**state, 'gradient': gradient, 'steps': self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the hypernetwork and the gradients so far."""
        super().load_state_dict(state)
        self._gradient.copy_(state['gradient'])
        self._steps = state['steps']


def classifier_inputs(model: nn.Module, graph: ChannelGraph) -> list[str]:
    """Names of the groups that a linear layer with fixed outputs reads.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.
    """
    found: dict[str, None] = {}
    for name, module in model.named_modules():
        rows, columns = (
            graph.axis_units.get((f'{name}.weight'.lstrip('.'), axis))
            for axis in (0, 1)
        )
        if not isinstance(module, nn.Linear) or columns is None:
            continue
        if rows is None or (rows >= graph.num_units).all():
            units = torch.from_numpy(columns[columns < graph.num_units])
            owners = graph.group_of_unit[units.long()].unique().tolist()
            found.update((graph.groups[i].name, None) for i in owners)
    return list(found)
