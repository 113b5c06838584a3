"""Augmentation and crops of a few frames of one video.

Source: Bhat et al., DiMP, ICCV 2019, arXiv:1904.07220, and its code.
"""

import math
from collections.abc import Sequence
from typing import Union

import cv2
import numpy as np

from mmdhp.registry import TRANSFORMS

Factors = Union[float, Sequence[float]]


def crop_square(
    image: np.ndarray, origin: np.ndarray, side: float, size: int
) -> np.ndarray:
    """Cut a square and resize it; outside, the border is repeated.

    Pixel i covers [i, i + 1). An image that shrinks by more than 2 is
    averaged over whole blocks first.

    Args:
        image (ndarray): Shape ``(H, W, 3)``.
        origin (ndarray): Left upper corner ``x, y`` in pixels, ``(2, )``.
        side (float): Side of the square in pixels.
        size (int): Side of the result.

    Returns:
        ndarray: Shape ``(size, size, 3)``.
    """
    scale = side / size
    factor = min(max(int(scale), 1), *image.shape[:2])
    if factor > 1:
        height, width = (n // factor for n in image.shape[:2])
        image = cv2.resize(
            image[: height * factor, : width * factor],
            (width, height),
            interpolation=cv2.INTER_AREA,
        )
    scale /= factor
    x, y = (v / factor + 0.5 * scale - 0.5 for v in origin)
    return cv2.warpAffine(
        image,
        np.array([[scale, 0.0, x], [0.0, scale, y]]),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _per_frame(name: str, value: Factors, count: int) -> list[float]:
    values = [value] * count if isinstance(value, (int, float)) else value
    if len(values) != count:
        raise ValueError(
            f'{name} has {len(values)} values for {count} frames; give one '
            'value for all, or one per frame.'
        )
    return list(values)


@TRANSFORMS.register_module()
class GrayAug:
    """Makes all frames gray, at random.

    Args:
        prob (float): Probability. Defaults to 0.05.
    """

    def __init__(self, prob: float = 0.05) -> None:
        self.prob = prob

    def __call__(self, results: dict) -> dict:
        """Change ``imgs``."""
        if np.random.rand() < self.prob:
            results['imgs'] = [
                np.repeat(
                    cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None], 3, 2
                )
                for image in results['imgs']
            ]
        return results


@TRANSFORMS.register_module()
class SeqBboxJitter:
    """Moves and scales every box at random; crops are cut around these.

    Args:
        center_jitter_factor (float | Sequence[float]): Range of the centre as
            a multiple of the root of the area, of all frames or per frame.
        scale_jitter_factor (float | Sequence[float]): Standard deviation of
            the logarithm of the size, likewise.
    """

    def __init__(
        self, center_jitter_factor: Factors, scale_jitter_factor: Factors
    ) -> None:
        self.center_jitter_factor = center_jitter_factor
        self.scale_jitter_factor = scale_jitter_factor

    def __call__(self, results: dict) -> dict:
        """Add ``jittered_bboxes``, ``(T, 4)``."""
        boxes = results['bboxes']
        shifts, scales = (
            np.array(_per_frame(f'SeqBboxJitter: {name}', value, len(boxes)))
            for name, value in (
                ('center_jitter_factor', self.center_jitter_factor),
                ('scale_jitter_factor', self.scale_jitter_factor),
            )
        )
        noise = np.random.randn(len(boxes), 2) * scales[:, None]
        size = boxes[:, 2:] * np.exp(noise)
        reach = np.sqrt(size.prod(1)) * shifts
        move = reach[:, None] * (np.random.rand(len(boxes), 2) - 0.5)
        center = boxes[:, :2] + boxes[:, 2:] / 2 + move
        results['jittered_bboxes'] = np.hstack([center - size / 2, size])
        return results


@TRANSFORMS.register_module()
class CropLikeDiMP:
    """Cuts a square around every jittered box and resizes it.

    The square is moved inside of the image along the axes where it fits.

    Args:
        crop_size_factor (float): Side as a multiple of the root of the box's
            area. Defaults to 5.0.
        output_size (int): Side of the crops. Defaults to 288.
    """

    def __init__(
        self, crop_size_factor: float = 5.0, output_size: int = 288
    ) -> None:
        self.crop_size_factor = crop_size_factor
        self.output_size = output_size

    def __call__(self, results: dict) -> dict:
        """Change ``imgs`` and ``bboxes``."""
        crops, boxes = [], []
        for image, box, jittered in zip(
            results['imgs'], results['bboxes'], results['jittered_bboxes']
        ):
            origin, side = self._square(image, jittered)
            crops.append(crop_square(image, origin, side, self.output_size))
            moved = np.concatenate([box[:2] - origin, box[2:]])
            boxes.append(moved * self.output_size / side)
        return {**results, 'imgs': crops, 'bboxes': np.array(boxes)}

    def _square(
        self, image: np.ndarray, box: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """Left upper corner and side in pixels."""
        side = math.ceil(self.crop_size_factor * math.sqrt(box[2] * box[3]))
        side = max(side, 2)
        origin = np.round(box[:2] + box[2:] / 2 - side / 2)
        room = np.array([image.shape[1], image.shape[0]]) - side
        inside = np.clip(origin, 0, np.maximum(room, 0))
        return np.where(room >= 0, inside, origin), side


@TRANSFORMS.register_module()
class BrightnessAug:
    """Scales the brightness of every frame at random.

    Args:
        jitter_range (float): Factors are 1 - range to 1 + range. Defaults to
            0.2.
    """

    def __init__(self, jitter_range: float = 0.2) -> None:
        self.jitter_range = jitter_range

    def __call__(self, results: dict) -> dict:
        """Change ``imgs``; they may become floats in [0, 255]."""
        low, high = 1 - self.jitter_range, 1 + self.jitter_range
        results['imgs'] = [
            np.clip(image * np.float32(np.random.uniform(low, high)), 0, 255)
            for image in results['imgs']
        ]
        return results
