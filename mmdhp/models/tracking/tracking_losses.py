"""Loss of score maps."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmdhp.registry import MODELS


@MODELS.register_module()
class LBHingeLoss(BaseModule):
    """Squared error that forgives negative scores in the background.

    Source: Bhat et al., DiMP, ICCV 2019, arXiv:1904.07220, with the
    threshold of the authors' code.

    Args:
        threshold (float): Cells of a smaller label are background.
    """

    def __init__(self, threshold: float = 0.05) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        """Mean over all cells.

        Args:
            scores (Tensor): Any shape.
            label (Tensor): Same shape.

        Returns:
            Tensor: Scalar.
        """
        background = label < self.threshold
        scores = torch.where(background, scores.clamp(min=0), scores)
        target = torch.where(background, torch.zeros_like(label), label)
        return F.mse_loss(scores, target)
