"""Gradient ascent on the overlap that a network predicts for a box."""

from dataclasses import dataclass
from typing import Callable, Optional

import torch
from torch import Tensor


@dataclass(frozen=True)
class BoxRefinement:
    """Refines the current box and random ones, and takes the best ones' mean.

    Source: Danelljan et al., ATOM, CVPR 2019, arXiv:1811.07628, with the
    settings of DiMP.

    Args:
        num_init_random_boxes (int): Random boxes to start from. Defaults to
            9.
        box_jitter_pos (float): Range of their centres as a fraction of the
            root of the area. Defaults to 0.1.
        box_jitter_sz (float): Range of their sizes likewise. Defaults to 0.5.
        iounet_topk (int): Boxes that are averaged. Defaults to 3.
        box_refine_step_length (float): Step relative to the box. Defaults to
            1.0.
        box_refine_iter (int): Steps. Defaults to 5.
        box_refine_step_decay (float): Factor on the step after each one.
            Defaults to 1.0.
        max_aspect_ratio (float): More elongated boxes are dropped. Defaults
            to 6.0.
    """

    num_init_random_boxes: int = 9
    box_jitter_pos: float = 0.1
    box_jitter_sz: float = 0.5
    iounet_topk: int = 3
    box_refine_step_length: float = 1.0
    box_refine_iter: int = 5
    box_refine_step_decay: float = 1.0
    max_aspect_ratio: float = 6.0

    @property
    def enabled(self) -> bool:
        """Whether a box can change: there are other boxes, or steps."""
        return self.num_init_random_boxes > 0 or self.box_refine_iter > 0

    def __call__(
        self,
        predict_iou: Callable[[Tensor], Tensor],
        box: Tensor,
        generator: torch.Generator,
    ) -> Optional[Tensor]:
        """Refine a box.

        Args:
            predict_iou (Callable): Boxes ``(1, N, 4)`` to overlaps
                ``(1, N)``, differentiable.
            box (Tensor): ``x, y, w, h`` in pixels of the crop, ``(4, )``.
            generator (Generator): On the CPU.

        Returns:
            Tensor | None: Shape ``(4, )``; None if all boxes became too
            elongated.
        """
        boxes, overlap = self._ascend(
            predict_iou, self._starts(box, generator)
        )
        boxes[:, 2:].clamp_(min=1)
        ratio = boxes[:, 2] / boxes[:, 3]
        limit = self.max_aspect_ratio
        usable = (ratio < limit) & (ratio > 1 / limit)
        usable &= boxes.isfinite().all(1) & overlap.isfinite()
        if not usable.any():
            return None
        boxes, overlap = boxes[usable], overlap[usable]
        best = overlap.topk(min(self.iounet_topk, len(overlap))).indices
        return boxes[best].mean(0)

    def _starts(self, box: Tensor, generator: torch.Generator) -> Tensor:
        """The box and random ones around it, ``(n, 4)``."""
        count = self.num_init_random_boxes
        noise = torch.rand(count, 4, generator=generator).to(box) - 0.5
        size = box[2:]
        side = size.prod().sqrt()
        sizes = size + side * self.box_jitter_sz * noise[:, 2:]
        sizes = torch.maximum(sizes, size.min() / 3)
        middle = box[:2] + size / 2
        centers = middle + side * self.box_jitter_pos * noise[:, :2]
        random = torch.cat([centers - sizes / 2, sizes], 1)
        return torch.cat([box[None], random])

    def _ascend(
        self, predict_iou: Callable[[Tensor], Tensor], boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All boxes, and their overlaps in front of the last step."""
        step = self.box_refine_step_length
        with torch.no_grad():
            overlap = predict_iou(boxes[None])[0]
        for _ in range(self.box_refine_iter):
            with torch.enable_grad():
                boxes = boxes.detach().requires_grad_()
                overlap = predict_iou(boxes[None])[0]
                (gradient,) = torch.autograd.grad(overlap.sum(), boxes)
            boxes = boxes.detach()
            boxes = boxes + step * gradient * boxes[:, 2:].repeat(1, 2)
            step *= self.box_refine_step_decay
        return boxes.detach(), overlap.detach()
