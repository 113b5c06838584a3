"""PSNR and SSIM by the rules of the super-resolution papers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Optional, Union

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor, nn
from torch.nn import functional as F

from mmengine.registry import METRICS

# Luma of ITU-R BT.601 for blue, green, red in [0, 255], as in MATLAB's
# rgb2ycbcr: from 16 to 235.
LUMA = (24.966 / 255, 128.553 / 255, 65.481 / 255)
LUMA_OFFSET = 16.0
WINDOW = 11  # of SSIM, in pixels


class ImageQuality(BaseMetric):
    """What PSNR and SSIM share: how two images are made comparable.

    Unlike MMagic's measures of the same names, images are rounded to 8 bits
    first, as saved files are, and compared in double precision. Works in
    MMEngine's loops and in MMagic's, which measure several data sets.

    A true image of one channel is compared as gray whatever the output has,
    as where benchmarks are measured in MATLAB: load it with
    ``color_type='unchanged'``. Set14 has a gray file; read as colour, its
    luma spans 16 to 235 only, and its PSNR is 1.32 dB higher (the mean of
    Set14 by 0.09 dB).

    Args:
        crop_border (int): Pixels left out on every side. Defaults to 0.
        convert_to (str, optional): ``'Y'`` compares the luma. None compares
            all channels. Defaults to None.
        gt_key (str): Key of the true image in a data sample. Defaults to
            ``'gt_img'``.
        pred_key (str): Key of the image in the output. Defaults to
            ``'pred_img'``.
        collect_device (str): Of MMEngine. Defaults to ``'cpu'``.
        prefix (str, optional): Put before the name of the measure. Defaults
            to None.

    Raises:
        ValueError: If ``convert_to`` or ``crop_border`` mean nothing.
    """

    name: ClassVar[str]

    # What MMagic's evaluator asks of a metric.
    SAMPLER_MODE = 'normal'
    sample_model = 'orig'

    def __init__(
        self,
        crop_border: int = 0,
        convert_to: Optional[str] = None,
        gt_key: str = 'gt_img',
        pred_key: str = 'pred_img',
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        if convert_to not in (None, 'Y'):
            raise ValueError(
                f"{self.name}: convert_to is {convert_to!r}, expected 'Y' "
                'or None.'
            )
        if crop_border < 0:
            raise ValueError(
                f'{self.name}: crop_border is {crop_border}, expected at '
                'least 0.'
            )
        self.crop_border = crop_border
        self.convert_to = convert_to
        self.gt_key = gt_key
        self.pred_key = pred_key
        self.size: Optional[int] = None

    def prepare(self, module: nn.Module, dataloader: Any) -> None:
        """Note the number of images; called by MMagic's loops."""
        self.size = len(dataloader.dataset)

    def get_metric_sampler(
        self, model: nn.Module, dataloader: Any, metrics: Any
    ) -> Any:
        """Return the data loader; called by MMagic's loops."""
        return dataloader

    def evaluate(self, size: Optional[int] = None) -> dict:
        """Average over all images.

        Args:
            size (int, optional): Their number; MMagic's loops leave it out.
        """
        if size is None:
            size = self.size
        return super().evaluate(size)

    def process(
        self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]
    ) -> None:
        """Compare the images of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): With the true image and, under
                ``'output'``, the predicted one, both of shape ``(C, H, W)``
                or ``(1, C, H, W)`` in ``[0, 255]``; colours in MMagic's
                order, blue first.
        """
        for sample in data_samples:
            truth = _pixels(sample[self.gt_key])
            image = _pixels(sample['output'][self.pred_key])
            if len(truth) == 1 and len(image) == 3:
                image = _gray_values(image)
            if truth.shape != image.shape:
                raise ValueError(
                    f'{self.name}: the output has shape '
                    f'{tuple(image.shape)} but the true image '
                    f'{tuple(truth.shape)}; check the scale of the network '
                    'and the folders of the data set.'
                )
            if self.convert_to == 'Y' and len(truth) == 3:
                image, truth = _luma(image), _luma(truth)
            pair = self._cropped(image), self._cropped(truth)
            self.results.append(self.compare(*pair))

    def _cropped(self, image: Tensor) -> Tensor:
        """Cut the border off."""
        border = self.crop_border
        height, width = image.shape[-2:]
        cropped = image[:, border : height - border, border : width - border]
        if not cropped.numel():
            raise ValueError(
                f'{self.name}: nothing is left of an image of '
                f'{height}x{width} pixels behind crop_border={border}.'
            )
        return cropped

    def compare(self, image: Tensor, truth: Tensor) -> float:
        """Compare two images.

        Args:
            image (Tensor): Image of shape ``(C, H, W)``, double.
            truth (Tensor): Image of the same shape.

        Returns:
            float: The measure.
        """
        raise NotImplementedError

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Average over images."""
        return {self.name: math.fsum(results) / len(results)}


@METRICS.register_module(force=True)
class PSNR(ImageQuality):
    """Peak signal-to-noise ratio in dB; infinite for equal images.

    The papers' rules: super-resolution benchmarks ``convert_to='Y'`` and
    ``crop_border=scale``; DIV2K ``crop_border=scale + 6``, in colour; gray
    denoising ``crop_border=1``.

    Source: Li et al., DHP, ECCV 2020, arXiv:2003.13683.
    """

    name = 'PSNR'

    def compare(self, image: Tensor, truth: Tensor) -> float:
        """Return ``10 log10(255^2 / MSE)`` over all pixels and channels."""
        error = F.mse_loss(image, truth).item()
        return math.inf if error == 0 else 10 * math.log10(255**2 / error)


@METRICS.register_module(force=True)
class SSIM(ImageQuality):
    """Structural similarity, at most 1; the mean over channels.

    Gaussian window of 11x11 pixels with sigma 1.5, only where it fits in the
    image, K = (0.01, 0.03), as in the authors' MATLAB code.

    Source: Wang et al., Image quality assessment, TIP 2004.
    """

    name = 'SSIM'

    def compare(self, image: Tensor, truth: Tensor) -> float:
        """Return the mean of the similarity map."""
        if min(image.shape[-2:]) < WINDOW:
            raise ValueError(
                f'SSIM: its window of {WINDOW}x{WINDOW} pixels does not fit '
                f'in an image of {tuple(image.shape[-2:])}, borders cut.'
            )
        mean_a, mean_b = _smooth(image), _smooth(truth)
        var_a = _smooth(image**2) - mean_a**2
        var_b = _smooth(truth**2) - mean_b**2
        covariance = _smooth(image * truth) - mean_a * mean_b
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        structure = (2 * covariance + c2) / (var_a + var_b + c2)
        return (luminance * structure).mean().item()


def _pixels(image: Union[Tensor, np.ndarray]) -> Tensor:
    """8-bit values of an image, as ``(C, H, W)`` doubles."""
    image = torch.as_tensor(image).detach().cpu()
    image = image.reshape(image.shape[-3:])
    return image.double().clamp(0, 255).round()


def _luma(image: Tensor) -> Tensor:
    """Luma, 16 to 235, of blue, green and red; shape ``(1, H, W)``."""
    weights = image.new_tensor(LUMA)
    return torch.einsum('c,chw->hw', weights, image)[None] + LUMA_OFFSET


def _gray_values(image: Tensor) -> Tensor:
    """Luma over the full range, 0 to 255; shape ``(1, H, W)``."""
    return (_luma(image) - LUMA_OFFSET) / sum(LUMA)


def _smooth(image: Tensor) -> Tensor:
    """Gaussian mean of ``(C, H, W)`` where the whole window fits."""
    offsets = torch.arange(WINDOW, dtype=image.dtype) - WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * 1.5**2))
    kernel = kernel / kernel.sum()
    image = F.conv2d(image[:, None], kernel.view(1, 1, -1, 1))
    return F.conv2d(image, kernel.view(1, 1, 1, -1))[:, 0]
