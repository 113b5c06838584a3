"""Videos of a piece of a still scene, seen by a camera that moves.

A pasted object is told by its edges; here the target has none, and only its
content tells it from what is around it.
"""

from typing import Callable

import cv2
import numpy as np

from .toy_appearance import random_appearance

SHAKE = 4.0  # pixels per frame at most that the camera moves
FIELD = 2  # the scene is this many times as large as a frame


def draw_panned_sequence(
    rng: np.random.Generator,
    frames: int,
    size: tuple[int, int],
    sides: tuple[int, int],
    texture: Callable,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Draw a video.

    Args:
        rng (Generator): Source of randomness.
        frames (int): Number of frames T.
        size (tuple[int, int]): Width and height of a frame in pixels.
        sides (tuple[int, int]): Least and largest side of the target.
        texture (Callable): Draws the scene.

    Returns:
        tuple: Images ``(height, width, 3)``, and boxes ``x, y, w, h`` in
        pixels, shape ``(T, 4)``.
    """
    scene = texture(rng, (FIELD * size[0], FIELD * size[1]), 'background')
    mask = np.zeros(scene.shape[:2], dtype=np.float32)
    width, height = (int(n) for n in rng.integers(*sides, 2))
    x, y = ((FIELD * n - m) // 2 for n, m in zip(size, (width, height)))
    mask[y : y + height, x : x + width] = 1
    camera = random_appearance(rng)
    reach = np.array(size) / 2 - max(width, height)
    place = rng.uniform(-reach, reach)
    images, boxes = [], []
    for _ in range(frames):
        pixels, _, box = camera.render(scene, mask)
        corner = np.round(place + (pixels.shape[0] - np.array(size)) / 2)
        view = _window(pixels, corner, size)
        view += rng.normal(0, 5, view.shape)
        images.append(np.clip(view, 0, 255).astype(np.uint8))
        boxes.append((*(np.array(box[:2]) - corner), *box[2:]))
        camera.move(rng)
        step = np.clip(rng.normal(0, SHAKE / 2, 2), -SHAKE, SHAKE)
        place = np.clip(place + step, -reach, reach)
    return images, np.array(boxes, dtype=float)


def _window(
    pixels: np.ndarray, corner: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Cut a frame out; outside, the border is repeated."""
    shift = np.array([[1.0, 0.0, corner[0]], [0.0, 1.0, corner[1]]])
    return cv2.warpAffine(
        pixels,
        shift,
        size,
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
