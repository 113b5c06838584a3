"""Boxes as tensors: forms, overlaps, and boxes drawn around others."""

from typing import Optional

import torch
from torch import Tensor

# Standard deviations of proposals, as fractions of the square root of the
# area; source: Danelljan et al., ATOM, CVPR 2019, arXiv:1811.07628.
PROPOSAL_SIGMAS = (0.01, 0.05, 0.1, 0.2, 0.3)


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """``x, y, w, h`` to ``x1, y1, x2, y2``, shape ``(..., 4)``."""
    return torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """``x1, y1, x2, y2`` to ``x, y, w, h``, shape ``(..., 4)``."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], -1)


def centers(boxes: Tensor) -> Tensor:
    """Centres ``x, y`` of boxes ``x, y, w, h``, shape ``(..., 2)``."""
    return boxes[..., :2] + boxes[..., 2:] / 2


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes ``x, y, w, h``, broadcast.

    Args:
        a (Tensor): Shape ``(..., 4)``.
        b (Tensor): Shape ``(..., 4)``.

    Returns:
        Tensor: In [0, 1], shape ``(..., )``; 0 where both have no area.
    """
    first = torch.maximum(a[..., :2], b[..., :2])
    last = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    inner = (last - first).clamp(min=0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - inner
    return inner / union.clamp(min=torch.finfo(inner.dtype).tiny)


def draw_proposals(
    boxes: Tensor,
    count: int,
    *,
    min_iou: float = 0.1,
    max_tries: int = 100,
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Draw boxes that overlap true ones, from a mixture of Gaussians.

    Every proposal has a standard deviation of its own, common to centre and
    size, which shrinks by 0.9 as long as the overlap is too small.

    Args:
        boxes (Tensor): True boxes ``x, y, w, h`` in pixels, shape
            ``(..., 4)``.
        count (int): Proposals per box.
        min_iou (float): Overlap that is wanted. Defaults to 0.1.
        max_tries (int): After so many, the last draw is taken. Defaults to
            100.
        generator (torch.Generator, optional): On the device of ``boxes``.

    Returns:
        Tensor: Integer boxes, shape ``(..., count, 4)``.
    """
    true = boxes[..., None, :].expand(*boxes.shape[:-1], count, 4)
    sigma = _sigmas(true, generator)
    found = _draw(true, sigma, generator)
    for _ in range(max_tries - 1):
        poor = overlaps(found, true) <= min_iou
        if not poor.any():
            break
        sigma = torch.where(poor[..., None], 0.9 * sigma, sigma)
        again = _draw(true, sigma, generator)
        found = torch.where(poor[..., None], again, found)
    return found


def _uniform(like: Tensor, generator: Optional[torch.Generator]) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device)


def _sigmas(true: Tensor, generator: Optional[torch.Generator]) -> Tensor:
    choices = true.new_tensor(PROPOSAL_SIGMAS)
    index = _uniform(true[..., :1], generator) * len(choices)
    side = true[..., 2:].clamp(min=1).prod(-1, keepdim=True).sqrt()
    return choices[index.long().clamp(max=len(choices) - 1)] * side


def _draw(
    true: Tensor, sigma: Tensor, generator: Optional[torch.Generator]
) -> Tensor:
    noise = sigma * torch.randn(
        true.shape, generator=generator, device=true.device
    )
    center = centers(true) + noise[..., :2]
    size = true[..., 2:] + noise[..., 2:]
    small = true[..., 2:] * (0.15 + 0.35 * _uniform(size, generator))
    size = torch.where(size <= 1, small, size)
    return torch.cat([center - size / 2, size], -1).round()
