"""Correlation with one filter per sequence, its adjoint, maps of distance."""

import torch
import torch.nn.functional as F
from torch import Tensor


def score_size(feature_size: int, filter_size: int) -> int:
    """Cells of the score map along an axis: one more for even filters."""
    return feature_size + 2 * (filter_size // 2) - filter_size + 1


def apply_filter(features: Tensor, filters: Tensor) -> Tensor:
    """Correlate every image with the filter of its sequence.

    One matrix product per image scores every cell against every tap of the
    filter; folding shifts and adds them. Padding is ``k // 2``.

    Args:
        features (Tensor): Shape ``(I, S, C, H, W)`` of I images of each of S
            sequences.
        filters (Tensor): Shape ``(S, C, k, k)``.

    Returns:
        Tensor: Scores, shape ``(I, S, H', W')`` with H' = H + 1 for even k.
    """
    images, sequences, _, height, width = features.shape
    kernel = filters.shape[-1]
    taps = filters.flip(-2, -1).flatten(2).transpose(1, 2)  # (S, k·k, C)
    products = taps @ features.flatten(3)  # (I, S, k·k, H·W)
    scores = F.fold(
        products.flatten(0, 1),
        (score_size(height, kernel), score_size(width, kernel)),
        kernel,
        padding=kernel - 1 - kernel // 2,
    )
    return scores.reshape(images, sequences, *scores.shape[-2:])


def filter_adjoint(features: Tensor, maps: Tensor, kernel: int) -> Tensor:
    """Adjoint of :func:`apply_filter` in the filters.

    Args:
        features (Tensor): Shape ``(I, S, C, H, W)``.
        maps (Tensor): Shape ``(I, S, H', W')`` of the scores.
        kernel (int): Size k of the filter.

    Returns:
        Tensor: ``Σ_i f_iᵀ maps_i``, shape ``(S, C, k, k)``.
    """
    images, sequences, height, width = maps.shape
    patches = F.unfold(
        maps.reshape(-1, 1, height, width),
        kernel,
        padding=kernel - 1 - kernel // 2,
    ).reshape(images, sequences, kernel * kernel, -1)  # (I, S, k·k, H·W)
    taps = (features.flatten(3) @ patches.transpose(2, 3)).sum(0)
    return taps.unflatten(2, (kernel, kernel)).flip(-2, -1)


def target_cells(boxes: Tensor, stride: float, kernel: int) -> Tensor:
    """Where the score map should peak, in cells.

    Args:
        boxes (Tensor): ``x, y, w, h`` in pixels of the crop, ``(..., 4)``.
        stride (float): Pixels per cell.
        kernel (int): Size of the filter; odd ones peak half a cell earlier.

    Returns:
        Tensor: ``x, y``, shape ``(..., 2)``.
    """
    center = boxes[..., :2] + boxes[..., 2:] / 2
    return center / stride - (kernel % 2) / 2


def distance_map(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Euclidean distance of all cells of a map from one point.

    Args:
        cells (Tensor): The point ``x, y`` in cells, shape ``(..., 2)``.
        size (tuple[int, int]): ``(H', W')`` of the map.

    Returns:
        Tensor: In cells, shape ``(..., H', W')``.
    """
    y = torch.arange(size[0], dtype=cells.dtype, device=cells.device)
    x = torch.arange(size[1], dtype=cells.dtype, device=cells.device)
    dy = y - cells[..., 1:]  # (..., H')
    dx = x - cells[..., :1]  # (..., W')
    return (dy[..., :, None] ** 2 + dx[..., None, :] ** 2).sqrt()


def gaussian_label(
    cells: Tensor, size: tuple[int, int], sigma: float
) -> Tensor:
    """Gaussian around one point of every map, of height 1 between cells.

    Args:
        cells (Tensor): The point ``x, y`` in cells, shape ``(..., 2)``.
        size (tuple[int, int]): ``(H', W')`` of the map.
        sigma (float): Standard deviation in cells.

    Returns:
        Tensor: Shape ``(..., H', W')``.
    """
    return torch.exp(-(distance_map(cells, size) ** 2) / (2 * sigma**2))


def radial_map(coefficients: Tensor, steps: Tensor) -> Tensor:
    """Interpolate a function of distance that is given at equal knots.

    The same as the sum of coefficients times triangular basis functions of
    which the last one stays at 1 beyond its knot.

    Args:
        coefficients (Tensor): Values at 0, 1, ..., shape ``(N, )``.
        steps (Tensor): Distances in units of the knots' spacing, any shape.

    Returns:
        Tensor: Same shape as ``steps``.
    """
    last = len(coefficients) - 1
    steps = steps.clamp(max=last)
    lower = steps.detach().floor().clamp(max=last - 1)
    part = steps - lower
    index = lower.long()
    low, high = coefficients[index], coefficients[index + 1]
    return low * (1 - part) + high * part
