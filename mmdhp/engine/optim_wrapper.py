"""Optimizer wrappers that put a pruner's two actions around the step."""

import copy
from typing import Any, Callable

from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn
from torch.optim import Optimizer

from mmdhp.checks.numbers import FiniteWatch
from mmdhp.methods import Pruner
from mmdhp.registry import OPTIM_WRAPPERS


class _PruningMixin:
    """Pull before clipping and stepping; act after a step that happened.

    Gradients may still carry a loss scale when they are pulled, which the
    pruner is told: it leaves its own with the same scale, and the wrapped
    class unscales afterwards as always. A step that the gradient scaler skips
    leaves the search variables as they are.
    """

    optimizer: Optimizer
    param_groups: list[dict[str, Any]]

    def __init__(
        self,
        optimizer: Optimizer,
        pruner: Pruner,
        build_fine_tune: Callable[[nn.Module], OptimWrapper],
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer=optimizer, **kwargs)  # type: ignore
        self.pruner = pruner
        self.build_fine_tune = build_fine_tune
        self.has_hook = False  # set by PruningHook, which ends the search
        self.finite = FiniteWatch()
        self._stepped = False
        self._settings = [
            {k: copy.deepcopy(v) for k, v in g.items() if k != 'params'}
            for g in self.param_groups
        ]
        optimizer.register_step_post_hook(self._note_step)

    def _note_step(self, optimizer: Optimizer, *_: Any) -> None:
        # A fused optimizer is called by the scaler even for a step to skip.
        overflow = getattr(optimizer, 'found_inf', None)
        self._stepped = overflow is None or not bool(overflow)

    @property
    def is_scaled(self) -> bool:
        """Whether a gradient scaler may skip steps."""
        scaler = getattr(self, 'loss_scaler', None)
        return scaler is not None and scaler.is_enabled()

    @property
    def search_lr(self) -> float:
        """Learning rate of the search variables."""
        return self.optimizer.param_groups[-1]['lr']

    def reset_settings(self) -> None:
        """Undo what schedulers have written into the parameter groups."""
        for group, settings in zip(self.param_groups, self._settings):
            for key in set(group) - set(settings) - {'params'}:
                del group[key]
            group.update(copy.deepcopy(settings))

    def step(self, **kwargs: Any) -> None:
        """Pull, clip and step as the wrapped class does, then push.

        Raises:
            RuntimeError: If there is no :class:`PruningHook`.
        """
        if not self.has_hook:
            raise RuntimeError(
                f'{type(self).__name__} searches with {self.pruner.name}, but '
                'the Runner has no PruningHook, so the search would never '
                "end. Add custom_hooks=[dict(type='mmdhp.PruningHook')]."
            )
        scaler = getattr(self, 'loss_scaler', None)
        self.pruner.loss_scale = 1.0 if scaler is None else scaler.get_scale()
        self.pruner.pull()
        self._stepped = False
        super().step(**kwargs)  # type: ignore
        if self._stepped:
            self.pruner.after_step(self.search_lr)
            self.finite.note(self.pruner.vitals())


@OPTIM_WRAPPERS.register_module()
class PruningOptimWrapper(_PruningMixin, OptimWrapper):
    """:class:`OptimWrapper` for the search stage.

    Built by :class:`PruningOptimWrapperConstructor`; the fine-tune stage uses
    an ordinary :class:`OptimWrapper`.

    Args:
        optimizer (Optimizer): Its last parameter group holds the pruner's
            search variables.
        pruner (Pruner): Attached pruner.
        build_fine_tune (Callable): Builds the fine-tune stage's wrapper for
            the pruned model.
        **kwargs: As for :class:`OptimWrapper`.
    """


@OPTIM_WRAPPERS.register_module()
class PruningAmpOptimWrapper(_PruningMixin, AmpOptimWrapper):
    """:class:`AmpOptimWrapper` for the search stage.

    Weights are generated in full precision, outside autocast.

    Args:
        optimizer (Optimizer): See :class:`PruningOptimWrapper`.
        pruner (Pruner): Attached pruner.
        build_fine_tune (Callable): See :class:`PruningOptimWrapper`.
        **kwargs: As for :class:`AmpOptimWrapper`.
    """


def check_searching(wrapper: OptimWrapper) -> None:
    """Refuse an optimizer wrapper that knows of no search.

    Raises:
        TypeError: With what to write into the config.
    """
    if not isinstance(wrapper, (PruningOptimWrapper, PruningAmpOptimWrapper)):
        raise TypeError(
            f'PruningHook found a {type(wrapper).__name__}. Set '
            "optim_wrapper.type to 'mmdhp.PruningOptimWrapper' and "
            'optim_wrapper.constructor to '
            "'mmdhp.PruningOptimWrapperConstructor'."
        )
