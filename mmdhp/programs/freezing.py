"""A model that stays as it is while something beside it is trained."""

from typing import Any

from torch import nn


class Freezer:
    """Takes parameters and BatchNorm statistics of a model out of training.

    Args:
        norms (str): BatchNorms use their statistics, ``'eval'``, or the
            batch's, ``'batch'``. Running statistics stay as they are.
    """

    def __init__(self, norms: str = 'eval') -> None:
        self.norms = norms
        self._parameters: list[nn.Parameter] = []
        self._free: list[Any] = []

    def freeze(self, model: nn.Module) -> None:
        """Take gradients, and the tracking of statistics, in place."""
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        for parameter in self._parameters:
            parameter.requires_grad_(False)
        if self.norms == 'batch':
            self._free = [
                module
                for module in model.modules()
                if isinstance(module, nn.modules.batchnorm._BatchNorm)
                and module.track_running_stats
            ]
        for norm in self._free:  # in training neither read nor written
            norm.track_running_stats = False

    def set_mode(self, model: nn.Module) -> None:
        """Evaluation mode, but for BatchNorms that use the batch."""
        model.eval()
        for norm in self._free:
            norm.train()

    def restore(self) -> None:
        """Undo :meth:`freeze`, in place."""
        for parameter in self._parameters:
            parameter.requires_grad_(True)
        for norm in self._free:
            norm.track_running_stats = True
        self._parameters, self._free = [], []
