"""How well a box fits: the overlap that a reference-modulated net predicts.

Source: Danelljan et al., ATOM: Accurate Tracking by Overlap Maximization,
CVPR 2019, arXiv:1811.07628; used unchanged in DiMP.
"""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdhp.registry import MODELS

from .box_ops import draw_proposals, overlaps, xywh_to_xyxy
from .prroi_pool import PrRoIPool

Pair = tuple[Tensor, Tensor]


class ConvNormAct(nn.Module):
    """Convolution with bias, batch norm, ReLU.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        kernel_size (int): Kernel. Defaults to 3.
        padding (int): Padding. Defaults to 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        padding: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=padding
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, out, H', W')``."""
        return F.relu(self.bn(self.conv(x)))


class LinearNormAct(nn.Module):
    """Linear layer, batch norm, ReLU.

    Args:
        in_features (int): Input features.
        out_features (int): Output features.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.bn = nn.BatchNorm1d(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in)`` to ``(N, out)``."""
        return F.relu(self.bn(self.linear(x)))


@MODELS.register_module()
class IoUNetHead(BaseModule):
    """Predicts ``2 IoU - 1`` of boxes, differentiable in the boxes.

    The reference branch turns the target in one image into a vector per
    level; the test branch multiplies its features with them, pools every box
    and predicts its overlap with the target.

    Args:
        in_dim (Sequence[int]): Channels of the backbone at both levels.
        feat_strides (Sequence[int]): Pixels per cell of both levels. Defaults
            to (8, 16).
        pred_in_dim (Sequence[int]): Channels of the test branch at both
            levels. Defaults to (256, 256).
        pred_inter_dim (Sequence[int]): Features of a box at both levels.
            Defaults to (256, 256).
        num_proposals (int): Boxes per image in training. Defaults to 8.
        loss_weight (float): Factor of the loss. Defaults to 1.0.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.

    Raises:
        ValueError: If there are not two levels.
    """

    def __init__(
        self,
        in_dim: Sequence[int],
        feat_strides: Sequence[int] = (8, 16),
        *,
        pred_in_dim: Sequence[int] = (256, 256),
        pred_inter_dim: Sequence[int] = (256, 256),
        num_proposals: int = 8,
        loss_weight: float = 1.0,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        sizes = (in_dim, feat_strides, pred_in_dim, pred_inter_dim)
        if any(len(size) != 2 for size in sizes):
            raise ValueError(
                'IoUNetHead reads two levels, but got in_dim='
                f'{tuple(in_dim)}, feat_strides={tuple(feat_strides)}, '
                f'pred_in_dim={tuple(pred_in_dim)} and '
                f'pred_inter_dim={tuple(pred_inter_dim)}; give two values '
                'each.'
            )
        (in3, in4), (dim3, dim4) = in_dim, pred_in_dim
        scale3, scale4 = (1 / stride for stride in feat_strides)
        self.ref3 = ConvNormAct(in3, max(dim3 // 2, 1))
        self.ref3_pool = PrRoIPool(3, scale3)
        self.ref3_fc = ConvNormAct(max(dim3 // 2, 1), dim3, 3, padding=0)
        self.ref4 = ConvNormAct(in4, dim4)
        self.ref4_pool = PrRoIPool(1, scale4)
        self.mod3 = ConvNormAct(dim3 + dim4, dim3, 1, padding=0)
        self.mod4 = ConvNormAct(dim3 + dim4, dim4, 1, padding=0)
        self.test3 = _two_convs(in3, dim3)
        self.test4 = _two_convs(in4, dim4)
        self.test3_pool = PrRoIPool(5, scale3)
        self.test4_pool = PrRoIPool(3, scale4)
        self.fc3 = LinearNormAct(dim3 * 5 * 5, pred_inter_dim[0])
        self.fc4 = LinearNormAct(dim4 * 3 * 3, pred_inter_dim[1])
        self.iou_predictor = nn.Linear(sum(pred_inter_dim), 1)
        self.num_proposals = num_proposals
        self.loss_weight = loss_weight

    def init_weights(self) -> None:
        """Kaiming weights by fan-in, no biases, norm scales in [0, 1)."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, mode='fan_in')
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                nn.init.uniform_(module.weight)
                nn.init.zeros_(module.bias)
        super().init_weights()

    def modulation(self, levels: Sequence[Tensor], boxes: Tensor) -> Pair:
        """Describe targets by one vector per level.

        Args:
            levels (Sequence[Tensor]): Features of the backbone of S reference
                images, ``(S, C2, H, W)`` and ``(S, C3, H/2, W/2)``.
            boxes (Tensor): Targets ``x, y, w, h`` in pixels, ``(S, 4)``.

        Returns:
            tuple[Tensor, Tensor]: Each of shape ``(S, dim, 1, 1)``.
        """
        corners = xywh_to_xyxy(boxes)[:, None]
        pooled3 = self.ref3_pool.grouped(self.ref3(levels[0]), corners)[:, 0]
        pooled4 = self.ref4_pool.grouped(self.ref4(levels[1]), corners)[:, 0]
        joint = torch.cat([self.ref3_fc(pooled3), pooled4], 1)
        return self.mod3(joint), self.mod4(joint)

    def test_features(self, levels: Sequence[Tensor]) -> Pair:
        """Features of B test images, ``(B, dim, H, W)`` at both levels."""
        return self.test3(levels[0]), self.test4(levels[1])

    def predict_iou(
        self, modulation: Pair, features: Pair, boxes: Tensor
    ) -> Tensor:
        """Predict ``2 IoU - 1`` of boxes.

        Args:
            modulation (tuple[Tensor, Tensor]): From :meth:`modulation`, one
                per image or one for all.
            features (tuple[Tensor, Tensor]): From :meth:`test_features`.
            boxes (Tensor): ``x, y, w, h`` in pixels, shape ``(B, N, 4)``.

        Returns:
            Tensor: Shape ``(B, N)``.
        """
        corners = xywh_to_xyxy(boxes)
        pools = (self.test3_pool, self.test4_pool)
        pooled = [
            pool.grouped(feature * vector, corners).flatten(0, 1)
            for pool, feature, vector in zip(pools, features, modulation)
        ]  # (B·N, dim, P, P) each
        joint = torch.cat(
            [self.fc3(pooled[0].flatten(1)), self.fc4(pooled[1].flatten(1))], 1
        )
        return self.iou_predictor(joint)[:, 0].unflatten(0, boxes.shape[:2])

    def loss(
        self,
        train: tuple[Sequence[Tensor], Tensor],
        test: tuple[Sequence[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """Squared error of the predicted overlap of random proposals.

        Args:
            train (tuple): Both levels of one reference image per sequence,
                ``(S, ...)``, and the boxes, ``(S, 4)``.
            test (tuple): Both levels of the test images, ``(I·S, ...)``,
                image-major, and the boxes, ``(I, S, 4)``.

        Returns:
            dict[str, Tensor]: ``loss_bbox``.
        """
        levels, boxes = test
        images = len(boxes)
        boxes = boxes.flatten(0, 1)
        proposals = draw_proposals(boxes, self.num_proposals)
        target = 2 * overlaps(proposals, boxes[:, None]) - 1
        first, second = self.modulation(*train)
        modulation = (
            first.repeat(images, 1, 1, 1),
            second.repeat(images, 1, 1, 1),
        )
        found = self.predict_iou(
            modulation, self.test_features(levels), proposals
        )
        return {'loss_bbox': self.loss_weight * F.mse_loss(found, target)}


def _two_convs(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNormAct(in_channels, out_channels),
        ConvNormAct(out_channels, out_channels),
    )
