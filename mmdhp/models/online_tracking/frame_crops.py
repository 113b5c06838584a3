"""Square crops of frames, and the one map between both coordinates.

Pixel i covers [i, i + 1) in the frame and in the crop. The map is inverted
exactly, so a target that does not move stays where it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Crop:
    """Where a square crop of a frame is.

    Args:
        center (tuple[float, float]): ``x, y`` in the frame, in pixels.
        scale (float): Pixels of the frame per pixel of the crop.
        size (int): Side of the crop in its pixels.
    """

    center: tuple[float, float]
    scale: float
    size: int

    def box_to_crop(self, box: Sequence[float]) -> list[float]:
        """``x, y, w, h`` in the frame to the crop."""
        x, y = (
            (v - c) / self.scale + self.size / 2
            for v, c in zip(box, self.center)
        )
        return [x, y, box[2] / self.scale, box[3] / self.scale]

    def box_to_frame(self, box: Sequence[float]) -> list[float]:
        """``x, y, w, h`` in the crop to the frame."""
        x, y = (
            (v - self.size / 2) * self.scale + c
            for v, c in zip(box, self.center)
        )
        return [x, y, box[2] * self.scale, box[3] * self.scale]


@dataclass(frozen=True)
class Pose:
    """How the content of a crop is moved.

    Args:
        shift (tuple[float, float]): ``x, y`` in pixels of the crop; positive
            moves content to the right and down.
        degrees (float): Rotation around the centre.
        flip (bool): Whether left and right are swapped.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    degrees: float = 0.0
    flip: bool = False


def cut(frame: Tensor, crop: Crop, pose: Pose = Pose()) -> Tensor:
    """Resample a crop of a frame; outside, the border is repeated.

    Frames that shrink by more than 2 are averaged over whole blocks first.

    Args:
        frame (Tensor): Shape ``(3, H, W)``.
        crop (Crop): Where.
        pose (Pose): How the content is moved. Defaults to not at all.

    Returns:
        Tensor: Shape ``(1, 3, size, size)``.
    """
    factor = min(max(int(crop.scale), 1), *frame.shape[1:])
    frame = frame[None]
    if factor > 1:
        frame = F.avg_pool2d(frame, factor)
    scale = crop.scale / factor
    height, width = frame.shape[2:]
    angle = math.radians(pose.degrees)
    sign = -1.0 if pose.flip else 1.0
    # frame = center + scale · M (crop - size / 2 - shift)
    matrix = (
        (sign * scale * math.cos(angle), sign * scale * math.sin(angle)),
        (-scale * math.sin(angle), scale * math.cos(angle)),
    )
    theta = []
    for row, center, side in zip(matrix, crop.center, (width, height)):
        origin = center / factor
        origin -= sum(m * s for m, s in zip(row, pose.shift))
        spans = [m * crop.size / side for m in row]
        theta.append([*spans, 2 * origin / side - 1])
    grid = F.affine_grid(
        frame.new_tensor([theta]),
        [1, frame.shape[1], crop.size, crop.size],
        align_corners=False,
    )
    return F.grid_sample(
        frame, grid, padding_mode='border', align_corners=False
    )


def blur(image: Tensor, sigma: tuple[float, float]) -> Tensor:
    """Gaussian blur with kernels of twice the deviation to either side.

    Args:
        image (Tensor): Shape ``(1, 3, H, W)``.
        sigma (tuple[float, float]): Vertical and horizontal, in pixels.

    Returns:
        Tensor: Same shape.
    """
    channels = image.shape[1]
    for axis, deviation in enumerate(sigma):
        half = math.ceil(2 * deviation)
        taps = torch.arange(-half, half + 1, device=image.device)
        kernel = torch.exp(-((taps / deviation) ** 2) / 2)
        kernel = (kernel / kernel.sum()).to(image.dtype)
        shape = (1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1)
        padding = (0, 0, half, half) if axis == 0 else (half, half, 0, 0)
        image = F.conv2d(
            F.pad(image, padding, mode='replicate'),
            kernel.reshape(shape).expand(channels, -1, -1, -1),
            groups=channels,
        )
    return image
