"""Draws videos of one moving object, in LaSOT's layout."""

import os
import os.path as osp
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, Optional

import cv2
import numpy as np

from .toy_appearance import Appearance, random_appearance
from .toy_camera import draw_panned_sequence

SIZE = (320, 240)  # width and height in pixels
MARGIN = 90  # background that a camera may pan over, in pixels
OBJECT_SIDES = (26, 72)  # in pixels
COLOR_CELLS = {'object': 4, 'background': 7}  # random colours of a side

# Draws pixels in [0, 255], `(height, width, 3)`, of a width and height: an
# object's or a background's.
Texture = Callable[[np.random.Generator, tuple[int, int], str], np.ndarray]


@dataclass
class MovingObject:
    """A textured patch with position, velocity and size.

    Args:
        texture (ndarray): Shape ``(h, w, 3)``.
        mask (ndarray): Opacity in [0, 1], shape ``(h, w, 1)``.
        center (ndarray): ``x, y`` in pixels.
        velocity (ndarray): Pixels per frame.
        scale (float): Relative size.
        appearance (Appearance, optional): How else it changes. Defaults to
            not at all.
    """

    texture: np.ndarray
    mask: np.ndarray
    center: np.ndarray
    velocity: np.ndarray
    scale: float = 1.0
    appearance: Optional[Appearance] = None

    def move(self, rng: np.random.Generator) -> None:
        """Go one frame further: a damped random walk between the borders."""
        self.velocity = 0.9 * self.velocity + rng.normal(0, 0.9, 2)
        speed = float(np.linalg.norm(self.velocity))
        self.velocity *= min(1.0, 5 / max(speed, 1e-6))
        self.center = self.center + self.velocity
        low = np.array([40.0, 40.0])
        high = np.array(SIZE) - low
        outside = (self.center < low) | (self.center > high)
        self.velocity[outside] *= -1
        self.center = np.clip(self.center, low, high)
        change = np.exp(np.clip(rng.normal(0, 0.01), -0.02, 0.02))
        self.scale = float(np.clip(self.scale * change, 0.8, 1.3))
        if self.appearance is not None:
            self.appearance.move(rng)

    def draw(self, image: np.ndarray) -> tuple[float, float, float, float]:
        """Paint into an image, in place; return ``x, y, w, h``."""
        texture, mask, (left, top, width, height) = self._pixels()
        x, y = (
            int(round(c - n / 2))
            for c, n in zip(self.center, (mask.shape[1], mask.shape[0]))
        )
        _paste(image, texture, mask, (x, y))
        return float(x + left), float(y + top), float(width), float(height)

    def _pixels(
        self,
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int, int]]:
        """Pixels, opacity ``(h, w, 1)`` and the box of what is opaque."""
        height, width = (
            max(round(n * self.scale), 2) for n in self.texture.shape[:2]
        )
        texture = cv2.resize(self.texture, (width, height))
        mask = cv2.resize(self.mask, (width, height))
        if self.appearance is not None:
            return self.appearance.render(texture, mask)
        return texture, mask[..., None], (0, 0, width, height)


def _paste(
    image: np.ndarray,
    texture: np.ndarray,
    mask: np.ndarray,
    corner: tuple[int, int],
) -> None:
    """Blend a patch into an image, in place; parts outside are lost."""
    x, y = corner
    height, width = mask.shape[:2]
    left, top = max(x, 0), max(y, 0)
    right = min(x + width, image.shape[1])
    bottom = min(y + height, image.shape[0])
    inner = (slice(top - y, bottom - y), slice(left - x, right - x))
    place = image[top:bottom, left:right]
    place += mask[inner] * (texture[inner] - place)


def random_colors(
    rng: np.random.Generator, size: tuple[int, int], kind: str
) -> np.ndarray:
    """Smooth random colours.

    Args:
        rng (Generator): Source of randomness.
        size (tuple[int, int]): Width and height in pixels.
        kind (str): ``'object'`` or ``'background'``, which is smoother.

    Returns:
        ndarray: In [0, 255], shape ``(height, width, 3)``.
    """
    width, height = size
    shorter, cells = min(width, height), COLOR_CELLS[kind]
    rows, columns = (max(n * cells // shorter, 2) for n in (height, width))
    shape = (rows, columns, 3)
    coarse = rng.uniform(0, 255, shape).astype(np.float32)
    fine = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(fine, 0, 255)


class PhotoCrops:
    """Draws pieces of photographs, in place of random colours.

    Args:
        paths (Sequence[str]): Image files.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        if not paths:
            raise ValueError('PhotoCrops needs images, but got no path.')
        self.paths = sorted(paths)

    def __call__(
        self, rng: np.random.Generator, size: tuple[int, int], kind: str
    ) -> np.ndarray:
        """Cut a piece out of any photograph, stretched where it is small.

        Args:
            rng (Generator): Source of randomness.
            size (tuple[int, int]): Width and height in pixels.
            kind (str): ``'object'``: twice as many pixels are shrunk to the
                size, so that objects have details.

        Returns:
            ndarray: In [0, 255], shape ``(height, width, 3)``.

        Raises:
            ValueError: If the file is no image.
        """
        path = self.paths[rng.integers(len(self.paths))]
        image = cv2.imread(path, cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f'{path} cannot be read as an image.')
        factor = 2 if kind == 'object' else 1
        width, height = (
            min(factor * n, side)
            for n, side in zip(size, (image.shape[1], image.shape[0]))
        )
        x = rng.integers(image.shape[1] - width + 1)
        y = rng.integers(image.shape[0] - height + 1)
        piece = image[y : y + height, x : x + width].astype(np.float32)
        return cv2.resize(piece, size, interpolation=cv2.INTER_AREA)


def random_object(
    rng: np.random.Generator,
    texture: Texture = random_colors,
    changing: bool = False,
) -> MovingObject:
    """A rectangle or an ellipse with a texture of its own."""
    width, height = (int(n) for n in rng.integers(*OBJECT_SIDES, 2))
    mask = np.ones((height, width), dtype=np.float32)
    if rng.random() < 0.5:
        y, x = np.mgrid[:height, :width]
        radius = ((x + 0.5) / width * 2 - 1) ** 2
        radius = radius + ((y + 0.5) / height * 2 - 1) ** 2
        mask = (radius <= 1).astype(np.float32)
    center = rng.uniform([60, 60], [SIZE[0] - 60, SIZE[1] - 60])
    pixels = texture(rng, (width, height), 'object')
    thing = MovingObject(pixels, mask, center, rng.normal(0, 2, 2))
    if changing:
        thing.appearance = random_appearance(rng)
    return thing


def draw_sequence(
    rng: np.random.Generator,
    frames: int,
    distractors: int = 0,
    texture: Texture = random_colors,
    changing: bool = False,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Draw a video.

    Args:
        rng (Generator): Source of randomness.
        frames (int): Number of frames T.
        distractors (int): Other objects, behind the target. Defaults to 0.
        texture (Callable): Draws objects and backgrounds. Defaults to random
            colours.
        changing (bool): Whether objects turn, stretch and fade, with soft
            edges; half of the videos show a piece of the background instead.
            Defaults to False.

    Returns:
        tuple: Images ``(240, 320, 3)``, and boxes ``x, y, w, h`` in pixels,
        shape ``(T, 4)``.
    """
    if changing and rng.random() < 0.5:
        return draw_panned_sequence(rng, frames, SIZE, OBJECT_SIDES, texture)
    wide = (SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN)
    background = texture(rng, wide, 'background') * 0.6 + 40
    objects = [
        random_object(rng, texture, changing) for _ in range(distractors + 1)
    ]
    pan = MovingObject(
        background, background, np.zeros(2), rng.normal(0, 1, 2)
    )
    images, boxes = [], []
    for _ in range(frames):
        left, top = (
            int(MARGIN * np.tanh(c / MARGIN)) + MARGIN for c in pan.center
        )
        view = background[top : top + SIZE[1], left : left + SIZE[0]].copy()
        box = [thing.draw(view) for thing in objects][-1]
        view += rng.normal(0, 5, view.shape)
        images.append(np.clip(view, 0, 255).astype(np.uint8))
        boxes.append(box)
        pan.center = pan.center + pan.velocity
        for thing in objects:
            thing.move(rng)
    return images, np.array(boxes)


def write_sequence(
    folder: str, images: list[np.ndarray], boxes: np.ndarray
) -> None:
    """Write a video as LaSOT does: ``img/``, boxes and visibility."""
    os.makedirs(osp.join(folder, 'img'), exist_ok=True)
    for number, image in enumerate(images, 1):
        cv2.imwrite(osp.join(folder, 'img', f'{number:08d}.jpg'), image)
    lines = [','.join(f'{v:g}' for v in box) for box in boxes]
    flags = ','.join(['0'] * len(boxes))
    for name, text in (
        ('groundtruth.txt', '\n'.join(lines)),
        ('full_occlusion.txt', flags),
        ('out_of_view.txt', flags),
    ):
        with open(osp.join(folder, name), 'w', encoding='utf-8') as file:
            file.write(text + '\n')


def make_toy_set(
    root: str,
    *,
    train: int = 16,
    test: int = 6,
    train_frames: int = 24,
    test_frames: int = 40,
    distractors: int = 0,
    texture: Texture = random_colors,
    changing: bool = False,
    seed: int = 0,
) -> None:
    """Write generated sequences and the lists of both splits.

    Args:
        root (str): Folder to write into.
        train (int): Training sequences. Defaults to 16.
        test (int): Test sequences. Defaults to 6.
        train_frames (int): Frames of each. Defaults to 24.
        test_frames (int): Frames of each. Defaults to 40.
        distractors (int): Other objects in every video. Defaults to 0.
        texture (Callable): Draws objects and backgrounds, such as
            :class:`PhotoCrops`. Defaults to random colours.
        changing (bool): As in :func:`draw_sequence`. Defaults to False.
        seed (int): Equal seeds draw equal videos. Defaults to 0.
    """
    splits = (
        ('training_set.txt', 'toytrain', train, train_frames),
        ('testing_set.txt', 'toytest', test, test_frames),
    )
    for part, (file_name, kind, count, frames) in enumerate(splits):
        names = [f'{kind}-{i}' for i in range(1, count + 1)]
        for number, name in enumerate(names):
            rng = np.random.default_rng([seed, part, number])
            images, boxes = draw_sequence(
                rng, frames, distractors, texture, changing
            )
            write_sequence(osp.join(root, kind, name), images, boxes)
        path = osp.join(root, file_name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write('\n'.join(names) + '\n')
