"""What is remembered of a video, and when it is learned from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from .localization import HARD_NEGATIVE, NORMAL
from .sample_memory import SampleMemory

UNREADABLE = 'unreadable'


@dataclass(frozen=True)
class UpdateSchedule:
    """When samples are stored and the filter is improved.

    Args:
        sample_memory_size (int): Samples at most. Defaults to 50.
        normal_lr (float): Learning rate. Defaults to 0.01.
        hard_neg_lr (float): Of hard negatives. Defaults to 0.02.
        init_samples_min_weight (float): What the initial samples keep
            together. Defaults to 0.25.
        train_skipping (int): Frames between improvements. Defaults to 20.
        init_update_iters (int): Iterations in the first frame. Defaults to
            10.
        update_iters (int): Iterations later on. Defaults to 2.
        hard_neg_iters (int): After a hard negative. Defaults to 1.
    """

    sample_memory_size: int = 50
    normal_lr: float = 0.01
    hard_neg_lr: float = 0.02
    init_samples_min_weight: float = 0.25
    train_skipping: int = 20
    init_update_iters: int = 10
    update_iters: int = 2
    hard_neg_iters: int = 1

    def iterations(self, flag: str, frame: int) -> int:
        """Iterations in a frame; the first frame of a video is 1."""
        if flag == HARD_NEGATIVE:
            return self.hard_neg_iters
        return (
            self.update_iters if (frame - 1) % self.train_skipping == 0 else 0
        )


@dataclass
class TrackState:
    """What is remembered of a video.

    Args:
        box (list[float]): ``x, y, w, h`` in pixels of the frame.
        generator (Generator): All randomness of this video, on the CPU.
        name (str): The video, for messages.
        frame (int): Number of the frame, the first one is 1.
        flag (str): How the last frame went.
        filters (Tensor | None): Shape ``(1, C, k, k)``; None until the first
            frame that can be read.
        memory (SampleMemory | None): Samples of the filter.
        modulation (tuple | None): The target, for the box head.
    """

    box: list[float]
    generator: torch.Generator
    name: str = ''
    frame: int = 1
    flag: str = NORMAL
    filters: Optional[Tensor] = None
    memory: Optional[SampleMemory] = None
    modulation: Optional[tuple[Tensor, Tensor]] = None

    @property
    def center(self) -> tuple[float, float]:
        """``x, y`` of the target in pixels of the frame."""
        x, y, width, height = self.box
        return x + width / 2, y + height / 2


def check_box(
    box: Sequence[float], frame_size: Optional[Sequence[int]], name: str
) -> None:
    """Check that a box shows something.

    Args:
        box (Sequence[float]): ``x, y, w, h`` in pixels.
        frame_size (Sequence[int] | None): Height and width, if known.
        name (str): Of the video, for the message.

    Raises:
        ValueError: If it does not.
    """
    where = name or 'video'
    shown = ', '.join(f'{v:g}' for v in box)
    if not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
        raise ValueError(
            f'{where}: the target is at x, y, w, h = {shown}; width and '
            'height must be positive, and all numbers finite.'
        )
    if frame_size is None:
        return
    x, y, width, height = box
    if (
        min(x + width, y + height) <= 0
        or x >= frame_size[1]
        or (y >= frame_size[0])
    ):
        raise ValueError(
            f'{where}: the target at x, y, w, h = {shown} is outside of the '
            f'frame, which is {frame_size[1]} x {frame_size[0]} pixels.'
        )
