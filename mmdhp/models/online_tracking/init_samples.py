"""Augmented views of the first frame, from which the filter is learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .frame_crops import Crop, Pose, blur, cut


@dataclass(frozen=True)
class InitAugmentation:
    """Views of the first frame besides the plain one, which comes first.

    Source: Bhat et al., DiMP, ICCV 2019, arXiv:1904.07220, and its code.

    Args:
        relative_shifts (Sequence): Translations ``x, y`` as fractions of half
            the crop.
        fliplr (bool): Whether there is a mirrored view.
        blur (Sequence): Deviations ``(y, x)`` of blurred views, in pixels.
        rotate (Sequence[float]): Angles of rotated views, in degrees.
        random_shift_factor (float): All but the plain view and the
            translations are shifted by up to half this fraction of the crop,
            at random.
        dropout (Sequence[float]): Of the channels of copies of the plain
            view's features.
    """

    relative_shifts: Sequence[Sequence[float]] = (
        (0.6, 0.6),
        (-0.6, 0.6),
        (0.6, -0.6),
        (-0.6, -0.6),
    )
    fliplr: bool = True
    blur: Sequence[Sequence[float]] = ((3, 1), (1, 3), (2, 2))
    rotate: Sequence[float] = (10, -10, 45, -45)
    random_shift_factor: float = 1 / 3
    dropout: Sequence[float] = (0.2, 0.2)

    def views(
        self,
        frame: Tensor,
        crop: Crop,
        box: Sequence[float],
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Cut all views.

        The target lies in the centre of the crop; its box is shifted with the
        content, but neither turned nor mirrored.

        Args:
            frame (Tensor): Shape ``(3, H, W)``.
            crop (Crop): Around the target.
            box (Sequence[float]): ``x, y, w, h`` in the crop.
            generator (Generator): On the CPU.

        Returns:
            tuple[Tensor, Tensor]: Images ``(n, 3, size, size)`` and boxes
            ``x, y, w, h``, shape ``(n, 4)``.
        """
        half = crop.size / 2
        poses = [Pose()]
        poses += [
            Pose((float(int(x * half)), float(int(y * half))))
            for x, y in self.relative_shifts
        ]
        if self.fliplr:
            poses.append(Pose(self._shift(crop, generator), flip=True))
        blurred = range(len(poses), len(poses) + len(self.blur))
        poses += [Pose(self._shift(crop, generator)) for _ in self.blur]
        poses += [
            Pose(self._shift(crop, generator), degrees=angle)
            for angle in self.rotate
        ]
        images = [cut(frame, crop, pose) for pose in poses]
        for index, sigma in zip(blurred, self.blur):
            images[index] = blur(images[index], (sigma[0], sigma[1]))
        shifts = frame.new_tensor([[*pose.shift, 0.0, 0.0] for pose in poses])
        return torch.cat(images), frame.new_tensor(box) + shifts

    def dropped(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Copies of features without some channels.

        Args:
            features (Tensor): Of the plain view, shape ``(1, C, H, W)``.
            generator (Generator): On the CPU.

        Returns:
            Tensor: One copy per rate, shape ``(n, C, H, W)``.
        """
        copies = [features[:0]]
        for rate in self.dropout:
            chance = torch.rand(1, features.shape[1], generator=generator)
            kept = (chance >= rate).to(features) / (1 - rate)
            copies.append(features * kept[..., None, None])
        return torch.cat(copies)

    def _shift(
        self, crop: Crop, generator: torch.Generator
    ) -> tuple[float, float]:
        reach = self.random_shift_factor * crop.size
        x, y = (torch.rand(2, generator=generator) - 0.5).tolist()
        return x * reach, y * reach
