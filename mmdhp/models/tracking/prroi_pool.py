"""Precise RoI pooling in PyTorch's own operators, exact on any device."""

from typing import Union

import torch
from torch import Tensor, nn

from .precision import at_least_single, without_autocast


def hat_integral(u: Tensor) -> Tensor:
    """Integral of the hat ``max(0, 1 - |t|)`` from minus infinity to ``u``.

    A single clamp covers all pieces, so that autograd gives the hat itself,
    at integers too; forms with one clamp per piece give 0 instead of 1 there.

    Args:
        u (Tensor): Upper limits, any shape.

    Returns:
        Tensor: Values in [0, 1], same shape.
    """
    r = u.clamp(-1, 1)
    return 0.5 + r - 0.5 * r * r.abs()


def bin_weights(start: Tensor, stop: Tensor, bins: int, size: int) -> Tensor:
    """Weight of every site of a line in the mean over every bin.

    The line is interpolated linearly between its sites, which lie at
    0 .. ``size - 1``, and is zero beyond one unit outside of them.

    Args:
        start (Tensor): Where the first bin starts, any shape ``(..., )``.
        stop (Tensor): Where the last bin ends, same shape.
        bins (int): Bins of equal length between both.
        size (int): Sites.

    Returns:
        Tensor: Shape ``(..., bins, size)``; zero where ``stop <= start``.
    """
    length = (stop - start)[..., None, None] / bins
    valid = length > 0
    steps = torch.arange(bins + 1, dtype=start.dtype, device=start.device)
    edges = start[..., None] + (stop - start)[..., None] * (steps / bins)
    sites = torch.arange(size, dtype=start.dtype, device=start.device)
    mass = hat_integral(edges[..., None] - sites)  # (..., bins + 1, size)
    inside = mass[..., 1:, :] - mass[..., :-1, :]
    safe = torch.where(valid, length, torch.ones_like(length))
    return torch.where(valid, inside / safe, torch.zeros_like(inside))


def prroi_pool(
    features: Tensor,
    boxes: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
) -> Tensor:
    """Mean of the interpolated feature map over every bin of every box.

    The integrand is separable, so the mean is ``Wy · F · Wxᵀ`` with closed
    forms of both weights. Differentiable, twice, in features and boxes. The
    weights are computed in double precision, since those of small boxes are
    differences of almost equal numbers.

    Source: Jiang et al., IoU-Net, ECCV 2018, arXiv:1807.11590.

    Args:
        features (Tensor): Shape ``(B, C, H, W)``.
        boxes (Tensor): Corners ``x1, y1, x2, y2`` in pixels of the image,
            shape ``(B, N, 4)``; those of image b lie in row b.
        output_size (tuple[int, int]): Bins ``(Ph, Pw)``.
        spatial_scale (float): Feature cells per pixel of the image.

    Returns:
        Tensor: Shape ``(B, N, C, Ph, Pw)``. Boxes without area give zeros.
    """
    batch, channels, height, width = features.shape
    rows, columns = output_size
    corners = boxes.double() * spatial_scale
    x1, y1, x2, y2 = corners.unbind(-1)  # (B, N) each
    solid = ((x2 > x1) & (y2 > y1))[..., None, None]
    wx = bin_weights(x1, x2, columns, width) * solid  # (B, N, Pw, W)
    wy = bin_weights(y1, y2, rows, height)  # (B, N, Ph, H)
    wx, wy = wx.to(features.dtype), wy.to(features.dtype)
    lines = features.flatten(1, 2) @ wx.flatten(1, 2).transpose(1, 2)
    lines = lines.reshape(batch, channels, height, boxes.shape[1], columns)
    lines = lines.permute(0, 3, 2, 1, 4).flatten(3)  # (B, N, H, C·Pw)
    pooled = (wy @ lines).unflatten(3, (-1, columns))  # (B, N, Ph, C, Pw)
    return pooled.transpose(2, 3)


class PrRoIPool(nn.Module):
    """Precise RoI pooling with the interface of mmcv's operator.

    Runs in at least single precision, outside of autocast.

    Args:
        output_size (int | tuple[int, int]): Bins ``(Ph, Pw)``.
        spatial_scale (float): Feature cells per pixel. Defaults to 1.0.

    Examples:
        >>> import torch
        >>> rois = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0]])
        >>> features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> PrRoIPool(2)(features, rois).flatten().tolist()
        [1.75, 2.25, 2.75, 3.25]
    """

    def __init__(
        self,
        output_size: Union[int, tuple[int, int]],
        spatial_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if isinstance(output_size, int):
            output_size = (output_size, output_size)
        self.output_size = tuple(output_size)
        self.spatial_scale = float(spatial_scale)

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """Pool boxes of any images.

        Args:
            features (Tensor): Shape ``(B, C, H, W)``.
            rois (Tensor): Image number and corners ``x1, y1, x2, y2`` in
                pixels, shape ``(R, 5)``.

        Returns:
            Tensor: Shape ``(R, C, Ph, Pw)``.

        Raises:
            ValueError: If ``rois`` has no five columns, or names images that
                do not exist.
        """
        if rois.dim() != 2 or rois.shape[1] != 5:
            raise ValueError(
                f'PrRoIPool got rois of shape {tuple(rois.shape)}; give '
                '(R, 5): image number, x1, y1, x2, y2.'
            )
        image = rois[:, 0].detach().long()
        if len(image) and not 0 <= int(image.min()) <= int(image.max()) < len(
            features
        ):
            raise ValueError(
                f'PrRoIPool got rois of images {int(image.min())} to '
                f'{int(image.max())}, but features of {len(features)} images.'
            )
        return self.grouped(features[image], rois[:, None, 1:])[:, 0]

    def grouped(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Pool as many boxes in every image, without copies of features.

        Args:
            features (Tensor): Shape ``(B, C, H, W)``.
            boxes (Tensor): Corners in pixels, shape ``(B, N, 4)``.

        Returns:
            Tensor: Shape ``(B, N, C, Ph, Pw)``.
        """
        with without_autocast(features):
            return prroi_pool(
                at_least_single(features),
                boxes,
                (self.output_size[0], self.output_size[1]),
                self.spatial_scale,
            )

    def extra_repr(self) -> str:
        """Arguments, for ``print(model)``."""
        return (
            f'output_size={self.output_size}, '
            f'spatial_scale={self.spatial_scale}'
        )
