"""The learned optimiser that turns a first filter into a discriminative one.

Source: Bhat et al., Learning Discriminative Model Prediction for Tracking
(DiMP), ICCV 2019, arXiv:1904.07220.
"""

import math
from typing import NamedTuple, Optional

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdhp.registry import MODELS

from .filter_maps import (
    apply_filter,
    distance_map,
    filter_adjoint,
    radial_map,
    score_size,
    target_cells,
)
from .precision import at_least_single, without_autocast

MIN_FILTER_REG = 1e-3
MIN_CURVATURE = 1e-8


class Residual(NamedTuple):
    """What the loss of a filter is made of; all of the scores' shape.

    Args:
        label (Tensor): y, what scores should be.
        mask (Tensor): m in (0, 1): two-sided where 1, a hinge where 0.
        weight (Tensor): a, the square root of the importance.
    """

    label: Tensor
    mask: Tensor
    weight: Tensor

    def __call__(self, scores: Tensor) -> Tensor:
        """``a (σ(s; m) - y)`` with σ = (1 - m)/2 |s| + (1 + m)/2 s."""
        return self.weight * (self.slope(scores) * scores - self.label)

    def slope(self, scores: Tensor) -> Tensor:
        """Derivative of σ; where the score is 0, that of its middle."""
        sign = scores.detach().sign()
        return (1 - self.mask) / 2 * sign + (1 + self.mask) / 2


@MODELS.register_module()
class DiMPFilterOptimizer(BaseModule):
    """Steepest descent on a discriminative loss, with exact step lengths.

    The loss of the filter ``w`` of one sequence is

        L(w) = Σ_i ‖a_i · (σ(f_i * w; m_i) - y_i)‖² + λ² ‖w‖²

    with label y, mask m and weight a² that are learned functions of the
    distance from the target, and learned λ. Every iteration goes against the
    (half) gradient g with the step that minimises the Gauss-Newton
    approximation of L on that line,

        α = ‖g‖² / (‖J g‖² + λ² ‖g‖²),

    times a learned factor.

    Args:
        num_iters (int): Iterations in training. Defaults to 5.
        feat_stride (int): Pixels per feature cell. Defaults to 16.
        init_step_length (float): Initial factor on the step. Defaults to 0.9.
        init_filter_regular (float): Initial λ. Defaults to 0.1.
        gauss_sigma (float): Standard deviation of the initial label in
            cells. Defaults to 0.9.
        num_dist_bins (int): Knots of the functions of distance, at least 2.
            Defaults to 100.
        bin_displacement (float): Their spacing in cells. Defaults to 0.1.
        mask_init_factor (float): Steepness of the initial mask. Defaults to
            3.0.
        alpha_eps (float): Added to λ² in the step length. Defaults to 0.0.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.

    Raises:
        ValueError: If there are fewer than 2 knots.
    """

    def __init__(
        self,
        num_iters: int = 5,
        feat_stride: int = 16,
        *,
        init_step_length: float = 0.9,
        init_filter_regular: float = 0.1,
        gauss_sigma: float = 0.9,
        num_dist_bins: int = 100,
        bin_displacement: float = 0.1,
        mask_init_factor: float = 3.0,
        alpha_eps: float = 0.0,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_dist_bins < 2:
            raise ValueError(
                f'DiMPFilterOptimizer: num_dist_bins is {num_dist_bins}, but '
                'a function of distance needs at least 2 knots.'
            )
        self.num_iters = num_iters
        self.feat_stride = feat_stride
        self.bin_displacement = bin_displacement
        self.alpha_eps = alpha_eps
        z = torch.arange(num_dist_bins) * bin_displacement
        label = torch.exp(-(z**2) / (2 * gauss_sigma**2))
        self.label_coef = nn.Parameter(label - label.min())
        self.mask_coef = nn.Parameter(mask_init_factor * torch.tanh(2 - z))
        self.weight_coef = nn.Parameter(torch.ones(num_dist_bins))
        self.log_step_length = nn.Parameter(
            torch.tensor([math.log(init_step_length)])
        )
        self.filter_reg = nn.Parameter(torch.tensor([init_filter_regular]))

    def residual(
        self,
        boxes: Tensor,
        size: tuple[int, int],
        kernel: int,
        sample_weight: Optional[Tensor] = None,
    ) -> Residual:
        """Label, mask and weight of every cell.

        Args:
            boxes (Tensor): Targets ``x, y, w, h`` in pixels of the crop,
                shape ``(I, S, 4)``.
            size (tuple[int, int]): ``(H', W')`` of the score maps.
            kernel (int): Size of the filter.
            sample_weight (Tensor, optional): Importance of every image, shape
                ``(I, S)``. Defaults to 1 / I.
        """
        cells = target_cells(boxes, self.feat_stride, kernel)
        steps = distance_map(cells, size) / self.bin_displacement
        if sample_weight is None:
            scale = steps.new_tensor(1 / len(boxes)).sqrt()
        else:
            scale = sample_weight.sqrt()[..., None, None]
        return Residual(
            radial_map(self.label_coef, steps),
            radial_map(self.mask_coef, steps).sigmoid(),
            radial_map(self.weight_coef, steps) * scale,
        )

    def regularization(self) -> Tensor:
        """λ², at least ``MIN_FILTER_REG ** 2``; shape ``(1, )``."""
        return (self.filter_reg**2).clamp(min=MIN_FILTER_REG**2)

    def losses(
        self, filters: Tensor, features: Tensor, residual: Residual
    ) -> Tensor:
        """L of every sequence, shape ``(S, )``."""
        data = residual(apply_filter(features, filters))
        norm = filters.square().sum((1, 2, 3))
        return data.square().sum((0, 2, 3)) + self.regularization() * norm

    def step(
        self, filters: Tensor, features: Tensor, residual: Residual
    ) -> Tensor:
        """One iteration; arguments as in :meth:`forward`."""
        reg = self.regularization()
        kernel = filters.shape[-1]
        scores = apply_filter(features, filters)
        weight = residual.weight * residual.slope(scores)  # a q
        maps = weight * residual(scores)
        gradient = filter_adjoint(features, maps, kernel) + reg * filters
        change = weight * apply_filter(features, gradient)  # J g
        square = gradient.square().sum((1, 2, 3))
        curvature = change.square().sum((0, 2, 3))
        curvature = curvature + (reg + self.alpha_eps) * square
        alpha = square / curvature.clamp(min=MIN_CURVATURE)
        alpha = self.log_step_length.exp() * alpha  # (S, )
        return filters - alpha[:, None, None, None] * gradient

    def forward(
        self,
        filters: Tensor,
        features: Tensor,
        boxes: Tensor,
        *,
        sample_weight: Optional[Tensor] = None,
        num_iters: Optional[int] = None,
    ) -> list[Tensor]:
        """Improve one filter per sequence, in single precision at least.

        Args:
            filters (Tensor): Where to start, shape ``(S, C, k, k)``.
            features (Tensor): Shape ``(I, S, C, H, W)``.
            boxes (Tensor): Targets ``x, y, w, h`` in pixels of the crop,
                shape ``(I, S, 4)``.
            sample_weight (Tensor, optional): Importance of every image, shape
                ``(I, S)``. Defaults to 1 / I.
            num_iters (int, optional): Defaults to that of training.

        Returns:
            list[Tensor]: All iterates, the first one included.
        """
        features = at_least_single(features)
        filters = at_least_single(filters)
        height, width = features.shape[-2:]
        kernel = filters.shape[-1]
        size = (score_size(height, kernel), score_size(width, kernel))
        residual = self.residual(boxes, size, kernel, sample_weight)
        count = self.num_iters if num_iters is None else num_iters
        iterates = [filters]
        with without_autocast(features):
            for _ in range(count):
                iterates.append(self.step(iterates[-1], features, residual))
        return iterates
