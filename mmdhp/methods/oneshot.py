"""One-shot pruning: the baseline that every paper compares with."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmdhp.registry import PRUNERS
from mmdhp.surgery import Initialiser, seed_of

from .base import Pruner
from .distribution import Distribution
from .importance import filter_norms, norm_scales, taylor_terms
from .options import check_choices, check_int
from .selection import rank_in_group

Criterion = Callable[[nn.Module, Any], Tensor]

# From the weights alone; 'taylor' and 'random' need more.
CRITERIA: dict[str, Criterion] = {
    'l1': lambda model, graph: filter_norms(model, graph, 1),
    'l2': lambda model, graph: filter_norms(model, graph, 2),
    'bn': norm_scales,
}
CHOICES = {
    'criterion': (*CRITERIA, 'taylor', 'random'),
    'scope': ('uniform', 'global'),
    'weights': ('kept', 'new'),
}


@PRUNERS.register_module()
class OneShot(Pruner):
    """Prune a trained network at once by the importance of its channels.

    There is no search: training starts with the transition, and all of it is
    fine-tuning.

    Args:
        target (dict): See :class:`Pruner`.
        input_shape (Sequence[int]): See :class:`Pruner`.
        criterion (str): ``'l1'`` or ``'l2'``, the norm of a channel's filters
            (Li et al., ICLR 2017); ``'bn'``, its norm scale (Liu et al., ICCV
            2017); ``'taylor'``, the squared first-order change of the loss
            (Molchanov et al., CVPR 2019); ``'random'``. Defaults to ``'l1'``.
        scope (str): ``'uniform'``: every group loses the same fraction;
            ``'global'``: one threshold for all. Defaults to ``'uniform'``.
        weights (str): ``'kept'``, or ``'new'`` to draw all parameters anew,
            as the architecture initialises itself: with a random criterion,
            the network of uniformly smaller widths that every method has to
            beat. Then no trained weights are needed. Defaults to ``'kept'``.
        batches (int): Training batches for ``'taylor'``. Defaults to 10.
        seed (int): For ``'random'``. Defaults to 0.
        **kwargs: See :class:`Pruner`.
    """

    search_fraction = 0.0

    def __init__(
        self,
        target: dict,
        input_shape: tuple,
        *,
        criterion: str = 'l1',
        scope: str = 'uniform',
        weights: str = 'kept',
        batches: int = 10,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(target, input_shape, **kwargs)
        given = {'criterion': criterion, 'scope': scope, 'weights': weights}
        check_choices(given, CHOICES)
        check_int('batches', batches, 1)
        check_int('seed', seed, 0)
        self.criterion = criterion
        self.scope = scope
        self.keeps_weights = weights == 'kept'
        self.batches = batches if criterion == 'taylor' else 0
        self.seed = seed

    def blind_groups(self, model: nn.Module) -> list[str]:
        """Groups that the criterion says nothing about."""
        if self.criterion not in CRITERIA:
            return []
        unknown = CRITERIA[self.criterion](model, self.graph).isnan()
        return [
            group.name
            for group in self.graph.groups
            if unknown[group.start : group.stop].any()
        ]

    def build_program(self, model: nn.Module) -> nn.Module:
        """Nothing is learned; remember the model, and sum up changes."""
        self._observed = [model]  # in a list: not a part of the program
        self._changes = torch.zeros(self.graph.num_units).double()
        self._initialiser = Initialiser.of(model)
        return nn.Module()

    def pull(self) -> None:
        """Add the changes that the gradients of one batch predict."""
        (model,) = self._observed
        terms = taylor_terms(model, self.graph)
        bad = self.graph.group_of_unit[terms.isnan()].unique().tolist()
        if bad:
            names = [self.graph.groups[i].name for i in bad]
            raise ValueError(
                f'No gradient reaches {", ".join(names[:5])}, so the Taylor '
                'criterion says nothing about them. Add them to `exclude`, '
                'or unfreeze them.'
            )
        self._changes += terms

    def after_cut(self, model: nn.Module, keep: Tensor) -> None:
        """Draw all parameters anew, the same ones for the same mask."""
        if not self.keeps_weights:
            self._initialiser.apply(model, seed_of(keep))

    def importance(self) -> Tensor:
        """The criterion as it is, shape ``(U, )``."""
        (model,) = self._observed
        if self.criterion == 'random':
            generator = torch.Generator().manual_seed(self.seed)
            return torch.rand(self.graph.num_units, generator=generator)
        if self.criterion == 'taylor':
            return self._changes
        return CRITERIA[self.criterion](model, self.graph)

    def distribution(self) -> Distribution:
        """The criterion, which tells more than ranks."""
        return Distribution(f'{self.criterion} importance', self.importance())

    def scores(self) -> Tensor:
        """The criterion; for ``'uniform'``, each group's ranks, as shares."""
        scores = self.importance()
        if self.scope == 'global':
            return scores
        sizes = torch.tensor([group.size for group in self.graph.groups])
        size = sizes[self.graph.group_of_unit]
        return 1 - rank_in_group(scores, self.graph) / size
