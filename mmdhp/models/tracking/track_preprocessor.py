"""Moves frames and crops to the device and normalises them."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmdhp.registry import MODELS


@MODELS.register_module()
class TrackDataPreprocessor(BaseDataPreprocessor):
    """Normalises the images of ``inputs['img']`` and ``['search_img']``.

    Args:
        mean (Sequence[float]): Of every channel, in the order that the
            network sees. Defaults to ImageNet's, RGB.
        std (Sequence[float]): Likewise.
        bgr_to_rgb (bool): Whether images come as BGR. Defaults to True.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        bgr_to_rgb: bool = True,
    ) -> None:
        super().__init__()
        shape = (len(mean), 1, 1)
        for name, values in (('mean', mean), ('std', std)):
            tensor = torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, tensor.reshape(shape), False)
        self.bgr_to_rgb = bgr_to_rgb

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise a batch.

        Args:
            data (dict): ``inputs``: name → images ``(T, 3, H, W)`` of every
                sequence, a list or a tensor ``(S, T, 3, H, W)``; and
                ``data_samples``.
            training (bool): Not used. Defaults to False.

        Returns:
            dict: The same, images ``(S, T, 3, H, W)``.
        """
        data = self.cast_data(data)
        inputs = {k: self.normalize(v) for k, v in data['inputs'].items()}
        return {**data, 'inputs': inputs}

    def normalize(self, images: Any) -> Tensor:
        """Stack and normalise images, ``(..., 3, H, W)``."""
        if not isinstance(images, Tensor):
            images = torch.stack(list(images))
        if self.bgr_to_rgb:
            images = images.flip(-3)
        return (images.float() - self.mean) / self.std
