"""How an object of a generated video changes: it turns, stretches, fades."""

from dataclasses import dataclass, field

import cv2
import numpy as np

# Standard deviations of what a damped random walk settles at.
SPREAD = {
    'degrees': 10.0,
    'log_size': 0.2,
    'log_aspect': 0.1,
    'log_gain': 0.12,
    'shade': 12.0,  # of 255
    'blur': 0.8,  # pixels; its magnitude counts
}
MEMORY = 0.95  # of the walk from frame to frame
SOFTNESS = (0.4, 1.2)  # pixels by which edges are blurred


@dataclass
class Appearance:
    """Size, pose, light and sharpness of an object in the frame at hand.

    Args:
        softness (float): Deviation of the blur of its edges, in pixels.
        values (dict[str, float]): By the names of :data:`SPREAD`. Defaults to
            no change.
    """

    softness: float
    values: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(SPREAD, 0.0)
    )

    def move(self, rng: np.random.Generator) -> None:
        """Go one frame further, in place."""
        step = np.sqrt(1 - MEMORY**2)
        for name, spread in SPREAD.items():
            noise = rng.normal(0, spread)
            self.values[name] = MEMORY * self.values[name] + step * noise

    def render(
        self, texture: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int, int]]:
        """Draw the object into a square that holds it.

        Args:
            texture (ndarray): Pixels in [0, 255], shape ``(h, w, 3)``.
            mask (ndarray): Opacity in [0, 1], shape ``(h, w)``.

        Returns:
            tuple: Pixels ``(side, side, 3)``, opacity ``(side, side, 1)``,
            and the box ``x, y, w, h`` of what is opaque.
        """
        matrix, side = self._matrix(mask.shape)
        # Linear between pixels, which is too sharp where an object shrinks:
        # by less than 2, so next to nothing is lost.
        size = (side, side)
        pixels = cv2.warpAffine(
            texture, matrix, size, borderMode=cv2.BORDER_REPLICATE
        )
        opacity = cv2.warpAffine(mask, matrix, size)
        opaque = (opacity > 0.5).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(opaque)
        opacity = cv2.GaussianBlur(opacity, (0, 0), self.softness)
        blur = abs(self.values['blur'])
        if blur > 0.3:  # less cannot be seen
            pixels = cv2.GaussianBlur(pixels, (0, 0), blur)
        pixels = pixels * np.exp(self.values['log_gain'])
        pixels = np.clip(pixels + self.values['shade'], 0, 255)
        return pixels, opacity[..., None], (x, y, width, height)

    def _matrix(self, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
        """Map from the texture to a square, ``(2, 3)``, and its side."""
        height, width = shape
        size = np.exp(self.values['log_size'])
        stretch = np.exp(self.values['log_aspect'] / 2)
        angle = np.deg2rad(self.values['degrees'])
        rotation = np.array(
            [
                [np.cos(angle), -np.sin(angle)],
                [np.sin(angle), np.cos(angle)],
            ]
        )
        linear = rotation @ np.diag([size * stretch, size / stretch])
        corners = np.array([[width, width], [height, -height]])
        reach = np.abs(linear @ corners).max()
        side = int(np.ceil(reach + 6 * self.softness)) + 2
        middle = np.array([width - 1, height - 1]) / 2
        shift = (side - 1) / 2 - linear @ middle
        return np.hstack([linear, shift[:, None]]), side


def random_appearance(rng: np.random.Generator) -> Appearance:
    """Start anywhere in the range of the walk."""
    values = {name: rng.normal(0, spread) for name, spread in SPREAD.items()}
    return Appearance(float(rng.uniform(*SOFTNESS)), values)
