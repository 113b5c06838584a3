"""DHP: differentiable meta pruning via latent hypernetworks.

Source: Li et al., DHP: Differentiable Meta Pruning via HyperNetworks, ECCV
2020, arXiv:2003.13683.
"""

from typing import Any, Optional

from torch import Tensor

from mmdhp.registry import PRUNERS

from .base import Progress
from .distribution import Distribution
from .latent import LatentPruner
from .options import check_number
from .selection import check_finite, threshold_mask

_BISECTIONS = 30
_SHARE = 0.8  # of a search, after which the target is to be reached
_SHORTEST = 0.05  # of a search, in which it is when that is over
_TRUST = 0.5  # of the newest estimate of what resists, against older ones


@PRUNERS.register_module()
class DHP(LatentPruner):
    """Search with latent hypernetworks and proximal gradient.

    Every conv weight is generated from the latents of its input and output
    channels. After every optimizer step the proximal operator of ``λ·R(z)``
    shrinks the latents ``z`` with step ``λ·μ``, where μ is the learning rate.
    A unit counts as pruned where ``|z| < τ``; the search may stop as soon as
    the ratio (every ratio of several) is at most ``target + stop_limit``. The
    final mask takes the global threshold on ``|z|`` that meets the target
    exactly, where the authors' code keeps τ and misses it by up to
    ``stop_limit``.

    Args:
        target (dict): See :class:`Pruner`.
        input_shape (Sequence[int]): See :class:`Pruner`.
        regularization (float, optional): λ. By default it is chosen such
            that the proximal operator alone reaches the target after 80 % of
            the sum of the search's learning rates. Gradients resist: it is
            chosen again whenever the search is looked at, from what is left
            and from what resisted so far.
        stop_limit (float): Defaults to 0.02.
        **kwargs: See :class:`LatentPruner` and :class:`Pruner`.
    """

    def __init__(
        self,
        target: dict,
        input_shape: tuple,
        *,
        stop_limit: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(target, input_shape, **kwargs)
        check_number('stop_limit', stop_limit, 0)
        self.stop_limit = stop_limit
        self.planned = self.regularization is None
        self._whole: Optional[float] = None  # sum of the learning rates
        self._planned_at: Optional[tuple[float, float]] = None
        self._resistance = 0.0

    def plan(self, steps: int, lr: float) -> None:
        """Choose λ from what is left of the search, if none was given."""
        left = steps * lr
        if self._whole is None:
            self._whole = left
        if not self.planned or not self._whole:
            return
        distance = self._distance()
        self._resistance = self._resisted(distance, left)
        rates = left - (1 - _SHARE) * self._whole
        rates = max(rates, _SHORTEST * self._whole)
        planned = distance / rates + self._resistance
        # Never less: latents that have reached 0 would be pulled back.
        self.regularization = max(planned, self.regularization or 0.0)
        self._planned_at = (distance, left)

    def _resisted(self, distance: float, left: float) -> float:
        """The part of λ that gradients have made up for, smoothed.

        The proximal operator moves latents by λ per unit of learning rate;
        what they have not moved, gradients have moved back. A plan that left
        this out would find the search where it was, then overshoot.
        """
        if self._planned_at is None:
            return 0.0
        before, rates = self._planned_at
        if rates <= left:
            return self._resistance
        moved = (before - distance) / (rates - left)
        newest = max((self.regularization or 0.0) - moved, 0.0)
        return self._resistance + _TRUST * (newest - self._resistance)

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

    def scores(self) -> Tensor:
        """Magnitude of the latents, on the CPU."""
        return self.latent.abs().cpu()

    def distribution(self) -> Distribution:
        """Magnitudes of the latents, and τ."""
        return Distribution('|latent|', self.scores(), self.threshold)

    def progress(self) -> Progress:
        """Ratios of the mask ``|z| >= τ``, floors respected."""
        return self._progress(self.scores())

    def _progress(self, scores: Tensor) -> Progress:
        check_finite(scores, self.graph)
        keep = threshold_mask(scores, self.graph, self.threshold, self.floors)
        return self.standing(keep, self.goal.reached(keep, self.stop_limit))

    def state_dict(self) -> dict[str, Any]:
        """The hypernetwork, the λ in use and what it is planned for."""
        return {
            **super().state_dict(),
            'regularization': self.regularization,
            'whole': self._whole,
            'planned_at': self._planned_at,
            'resistance': self._resistance,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        super().load_state_dict(state)
        self.regularization = state['regularization']
        self._whole = state['whole']
        self._planned_at = state['planned_at']
        self._resistance = state['resistance']
