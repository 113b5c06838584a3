"""Where the target is: features, a predicted filter, its scores and losses.

Source: Bhat et al., Learning Discriminative Model Prediction for Tracking
(DiMP), ICCV 2019, arXiv:1904.07220.
"""

import math
from typing import Optional

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdhp.registry import MODELS

from .box_ops import xywh_to_xyxy
from .filter_maps import apply_filter, gaussian_label, target_cells
from .filter_optimizer import DiMPFilterOptimizer
from .prroi_pool import PrRoIPool
from .tracking_losses import LBHingeLoss


class InstanceL2Norm(nn.Module):
    """Scales every map to one mean square of its values.

    It makes the head insensitive to the scale of the backbone.

    Args:
        scale (float): Root mean square of the result.
        eps (float): Added to the sum of squares. Defaults to 1e-5.
    """

    def __init__(self, scale: float, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale = scale
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``scale · x · sqrt(C H W / (‖x‖² + eps))``, ``(N, C, H, W)``."""
        count = x.shape[1] * x.shape[2] * x.shape[3]
        square = x.square().sum((1, 2, 3), keepdim=True)
        return self.scale * x * (count / (square + self.eps)).sqrt()


@MODELS.register_module()
class DiMPFilterInitializer(BaseModule):
    """First filter of a sequence: mean of pooled features of the target.

    Args:
        filter_size (int): Size k of the filter. Defaults to 4.
        feature_dim (int): Channels C of features and filter. Defaults to 512.
        feature_stride (int): Pixels per feature cell. Defaults to 16.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.
    """

    def __init__(
        self,
        filter_size: int = 4,
        feature_dim: int = 512,
        feature_stride: int = 16,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.filter_conv = nn.Conv2d(feature_dim, feature_dim, 3, padding=1)
        self.pool = PrRoIPool(filter_size, 1 / feature_stride)

    def init_weights(self) -> None:
        """Normal weights of variance 2 / fan-out, no bias."""
        fan_out_normal(self.filter_conv)
        super().init_weights()

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Predict one filter per sequence.

        Args:
            features (Tensor): Shape ``(I, S, C, H, W)``.
            boxes (Tensor): Targets ``x, y, w, h`` in pixels of the crop,
                shape ``(I, S, 4)``.

        Returns:
            Tensor: Shape ``(S, C, k, k)``.
        """
        maps = self.filter_conv(features.flatten(0, 1))
        corners = xywh_to_xyxy(boxes).flatten(0, 1)[:, None]
        pooled = self.pool.grouped(maps, corners)[:, 0]
        return pooled.unflatten(0, boxes.shape[:2]).mean(0)


def fan_out_normal(conv: nn.Conv2d) -> None:
    """Initialise a convolution, in place, by its fan-out."""
    fan_out = conv.out_channels * conv.weight[0, 0].numel()
    nn.init.normal_(conv.weight, std=math.sqrt(2 / fan_out))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


@MODELS.register_module()
class DiMPClsHead(BaseModule):
    """Predicts a target-specific filter, and scores images with it.

    Args:
        in_dim (int): Channels of the backbone's features.
        out_dim (int): Channels C of features and filter. Defaults to 512.
        filter_initializer (dict): Arguments of
            :class:`DiMPFilterInitializer` but ``feature_dim``.
        filter_optimizer (dict): Arguments of :class:`DiMPFilterOptimizer`.
        gauss_sigma (float): Standard deviation of the label of the loss, in
            cells: a quarter of the target's side. Defaults to 0.9.
        loss_weights (dict): Factors of the losses of the first filter
            (``init``), of the mean over the filters in between (``iter``) and
            of the last one (``final``). Defaults to 100, 400 and 100.
        hinge_threshold (float): Labels below it are background. Defaults to
            0.05.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.

    Raises:
        KeyError: If ``loss_weights`` has other keys.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int = 512,
        *,
        filter_initializer: Optional[dict] = None,
        filter_optimizer: Optional[dict] = None,
        gauss_sigma: float = 0.9,
        loss_weights: Optional[dict] = None,
        hinge_threshold: float = 0.05,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.feat_conv = nn.Conv2d(in_dim, out_dim, 3, padding=1, bias=False)
        self.filter_initializer = DiMPFilterInitializer(
            feature_dim=out_dim, **_arguments(filter_initializer)
        )
        self.filter_optimizer = DiMPFilterOptimizer(
            **_arguments(filter_optimizer)
        )
        window = out_dim * self.filter_size**2
        self.feat_norm = InstanceL2Norm(math.sqrt(1 / window))
        self.gauss_sigma = gauss_sigma
        self.loss_weights = dict(init=100.0, iter=400.0, final=100.0)
        unknown = set(loss_weights or {}) - set(self.loss_weights)
        if unknown:
            raise KeyError(
                f'DiMPClsHead: loss_weights has {sorted(unknown)}; the keys '
                f'are {list(self.loss_weights)}.'
            )
        self.loss_weights.update(loss_weights or {})
        self.loss_cls = LBHingeLoss(hinge_threshold)

    @property
    def filter_size(self) -> int:
        """Size k of the filter."""
        return self.filter_initializer.pool.output_size[0]

    @property
    def feat_stride(self) -> int:
        """Pixels per feature cell."""
        return self.filter_optimizer.feat_stride

    def init_weights(self) -> None:
        """Normal weights of variance 2 / fan-out; then those of the parts."""
        fan_out_normal(self.feat_conv)
        super().init_weights()

    def extract(self, x: Tensor) -> Tensor:
        """Features for the filter.

        Args:
            x (Tensor): Features of the backbone, shape ``(N, in_dim, H, W)``.

        Returns:
            Tensor: Shape ``(N, C, H, W)``.
        """
        return self.feat_norm(self.feat_conv(x))

    def filters(self, features: Tensor, boxes: Tensor) -> list[Tensor]:
        """First filter of every sequence and all its improvements.

        Args:
            features (Tensor): Of training images, ``(I, S, C, H, W)``.
            boxes (Tensor): Targets ``x, y, w, h`` in pixels, ``(I, S, 4)``.

        Returns:
            list[Tensor]: Each of shape ``(S, C, k, k)``.
        """
        first = self.filter_initializer(features, boxes)
        return self.filter_optimizer(first, features, boxes)

    def score(self, features: Tensor, filters: Tensor) -> Tensor:
        """Score images ``(I, S, C, H, W)`` with filters ``(S, C, k, k)``."""
        return apply_filter(features, filters)

    def loss(
        self,
        train: tuple[Tensor, Tensor],
        test: tuple[Tensor, Tensor],
    ) -> dict[str, Tensor]:
        """Losses of all filters on the test images.

        Args:
            train (tuple): Features ``(I, S, C, H, W)`` from :meth:`extract`
                and boxes ``(I, S, 4)`` that the filters are predicted from.
            test (tuple): The same of the images that are scored.

        Returns:
            dict[str, Tensor]: ``loss_cls_init``, ``loss_cls_iter`` and
            ``loss_cls_final``.
        """
        features, boxes = test
        scores = [apply_filter(features, w) for w in self.filters(*train)]
        size = (scores[0].shape[-2], scores[0].shape[-1])
        cells = target_cells(boxes, self.feat_stride, self.filter_size)
        label = gaussian_label(cells, size, self.gauss_sigma)
        found = [self.loss_cls(score, label) for score in scores]
        losses = {'loss_cls_init': self.loss_weights['init'] * found[0]}
        if len(found) > 2:
            mean = torch.stack(found[1:-1]).mean()
            losses['loss_cls_iter'] = self.loss_weights['iter'] * mean
        if len(found) > 1:
            losses['loss_cls_final'] = self.loss_weights['final'] * found[-1]
        return losses


def _arguments(cfg: Optional[dict]) -> dict:
    """A config without its type, which is given."""
    return {k: v for k, v in (cfg or {}).items() if k != 'type'}
