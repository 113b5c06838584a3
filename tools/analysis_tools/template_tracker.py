#!/usr/bin/env python
"""Track by normalised cross-correlation, with a tracking config's test data.

The oldest tracker there is, as a bottom line for trained ones: the pixels of
the first frame's box are looked for around the last position, at three scales.

Source: Lewis, Fast Normalized Cross-Correlation, Vision Interface 1995.

Examples:
    ``python tools/analysis_tools/template_tracker.py
    configs/tracking/dimp_toy.py``
"""

import argparse
import time
from typing import Optional

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmdhp.cli.common import (
    add_common_options,
    check_dataloader,
    clear_errors,
    load_config,
)

SCALES = (0.97, 1.0, 1.03)
SMALLEST = 4  # pixels of a template's side
SCALE_PENALTY = 0.97  # a change of scale has to be worth it


@MODELS.register_module()
class TemplateTracker(BaseModel):
    """Finds the first frame's target by normalised cross-correlation.

    Args:
        search_factor (float): Side of the window that is searched, as a
            multiple of the root of the target's area. Defaults to 4.0.
    """

    def __init__(self, search_factor: float = 4.0) -> None:
        super().__init__()
        self.search_factor = search_factor
        self.template: Optional[np.ndarray] = None
        self.box = np.zeros(4)

    def forward(
        self, inputs: dict, data_samples: list, mode: str = 'predict'
    ) -> list:
        """Track one frame; the first of a video starts anew.

        Args:
            inputs (dict): ``'img'``: one BGR frame, ``(1, 1, 3, H, W)``.
            data_samples (list): One, with the box in the first frame.
            mode (str): ``'predict'``; there is nothing else.
        """
        sample = data_samples[0]
        begin = time.perf_counter()
        frame = inputs['img'][0][0].permute(1, 2, 0).byte().cpu().numpy()
        readable = not sample.get('unreadable', False)
        if sample.frame_id == 0:
            x1, y1, x2, y2 = sample.gt_instances.bboxes[0].tolist()
            self.box = np.array([x1, y1, x2 - x1, y2 - y1])
            self.template = cut(frame, self.box) if readable else None
        elif readable and self.template is not None:
            self.box = self.search(frame)
        sample.set_metainfo(dict(seconds=time.perf_counter() - begin))
        x, y, w, h = self.box
        sample.pred_track_instances = InstanceData(
            bboxes=torch.tensor([[x, y, x + w, y + h]], dtype=torch.float32),
            scores=torch.ones(1),
        )
        return [sample]

    def search(self, frame: np.ndarray) -> np.ndarray:
        """The best place and scale around the last box, ``x, y, w, h``."""
        x, y, w, h = self.box
        center = np.array([x + w / 2, y + h / 2])
        half = self.search_factor * np.sqrt(w * h) / 2
        left, top = np.floor(np.maximum(center - half, 0)).astype(int)
        right, bottom = np.ceil(center + half).astype(int)
        window = frame[top:bottom, left:right]
        best, found = -np.inf, self.box
        for scale in SCALES:
            size = [max(round(n * scale), SMALLEST) for n in (w, h)]
            if size[0] > window.shape[1] or size[1] > window.shape[0]:
                continue
            template = cv2.resize(self.template, size)
            scores = cv2.matchTemplate(window, template, cv2.TM_CCOEFF_NORMED)
            _, score, _, (dx, dy) = cv2.minMaxLoc(scores)
            score *= 1.0 if scale == 1.0 else SCALE_PENALTY
            if score > best:
                best = score
                # Sizes grow by the exact factor: whole pixels would stick.
                middle = np.array([left + dx, top + dy]) + np.array(size) / 2
                sides = np.array([w, h]) * scale
                found = np.concatenate([middle - sides / 2, sides])
        return found


def cut(frame: np.ndarray, box: np.ndarray) -> Optional[np.ndarray]:
    """The pixels of a box, ``(h, w, 3)``; None if it is not in the frame."""
    left, top = np.maximum(np.round(box[:2]).astype(int), 0)
    right, bottom = np.round(box[:2] + box[2:]).astype(int)
    patch = frame[top:bottom, left:right]
    return patch.copy() if patch.size else None


def measure(cfg: Config) -> dict[str, float]:
    """Test with a template in place of the network."""
    cfg.model = dict(type='TemplateTracker')
    cfg.load_from = None
    cfg.resume = False
    cfg.custom_hooks = []
    return Runner.from_cfg(cfg).test()


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('config', help='config of a tracker')
    add_common_options(parser)
    return parser.parse_args()


def main() -> None:
    """Measure; the evaluator prints its table."""
    args = parse_args()
    cfg = load_config(args)
    check_dataloader(cfg, 'test_dataloader', 'test')
    with clear_errors():
        measure(cfg)


if __name__ == '__main__':
    main()
