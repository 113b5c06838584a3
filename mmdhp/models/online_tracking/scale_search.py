"""Looks for the target at several sizes, and says which one fits best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from .frame_crops import Crop
from .localization import Location

SMALLEST = 4.0  # pixels of a side below which a target does not shrink


@dataclass(frozen=True)
class ScaleSearch:
    """Scores crops of several sizes; the target has that of the best one.

    Correlation filters have found sizes like this before boxes were refined,
    and the code of DiMP still can. A network that has seen too few boxes to
    predict overlaps for new objects may still tell at which size its filter
    fits.

    Source: Li and Zhu, A Scale Adaptive Kernel Correlation Filter Tracker
    (SAMF), ECCV Workshops 2014; ``scale_factors`` in the code of Bhat et al.,
    DiMP, ICCV 2019, arXiv:1904.07220.

    Args:
        factors (Sequence[float]): Sizes relative to the last one. Defaults to
            ``(1.0,)``: no search.
        penalty (float): Factor on scores of changed sizes, in (0, 1]: a
            change has to be worth it. Defaults to 1.0.

    Raises:
        ValueError: If the factors are not positive or do not include 1, or
            the penalty is not in (0, 1].
    """

    factors: Sequence[float] = (1.0,)
    penalty: float = 1.0

    def __post_init__(self) -> None:
        factors = list(self.factors)
        if 1.0 not in factors or not all(0 < f < math.inf for f in factors):
            raise ValueError(
                f'ScaleSearch: factors is {factors}; give positive ones, and '
                '1.0 among them, such as (0.97, 1.0, 1.03).'
            )
        if not 0 < self.penalty <= 1:
            raise ValueError(
                f'ScaleSearch: penalty is {self.penalty}, but must be in '
                '(0, 1].'
            )

    def crops(self, crop: Crop) -> list[Crop]:
        """The same place in all sizes."""
        return [replace(crop, scale=crop.scale * f) for f in self.factors]

    def best(self, scores: Tensor) -> int:
        """Number of the size that fits best.

        Args:
            scores (Tensor): Of all crops, shape ``(n, H, W)``.
        """
        weight = [1.0 if f == 1 else self.penalty for f in self.factors]
        peaks = scores.flatten(1).max(1).values
        return int((peaks * peaks.new_tensor(weight)).argmax())

    def resized(
        self, size: Sequence[float], number: int, frame_size: Sequence[int]
    ) -> list[float]:
        """Width and height of the target at one of the sizes.

        It stays as it is where a side would leave the range from
        :data:`SMALLEST` pixels to the frame's longer side.

        Args:
            size (Sequence[float]): Last width and height in pixels.
            number (int): From :meth:`best`.
            frame_size (Sequence[int]): Height and width in pixels.
        """
        factor = self.factors[number]
        changed = [n * factor for n in size]
        if (factor < 1 and min(changed) < SMALLEST) or (
            factor > 1 and max(changed) > max(frame_size)
        ):
            return list(size)
        return changed


@dataclass(frozen=True)
class View:
    """What is seen of a frame, at the size that fits best.

    Args:
        crop (Crop): Where.
        levels (Sequence[Tensor]): Both maps of the backbone, ``(1, C, H, W)``.
        features (Tensor): Those of the filter, ``(1, C, H, W)``.
        location (Location): Where the target is; its shift is in pixels of
            the crop.
        size (Sequence[float]): Its width and height in pixels of the frame.
    """

    crop: Crop
    levels: Sequence[Tensor]
    features: Tensor
    location: Location
    size: Sequence[float]
