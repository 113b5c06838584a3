"""What makes the input of a restoration network from a clean image."""

import zlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Optional, Union

import numpy as np

from mmengine.registry import TRANSFORMS

from .imresize import crop_to_multiple, imresize


@TRANSFORMS.register_module(force=True)
class AddGaussianNoise:
    """Make a noisy image from a clean one, as the denoising papers do.

    The noise is floating-point and the sum neither clipped nor rounded, so
    that it stays Gaussian; MMagic's ``RandomNoise`` clips. Keeps the clean
    image.

    Required keys: ``source``, ``SOURCE_path`` with a seed. Added keys:
    ``target``, float32, and what is known of the order of its channels.

    Source: Zhang et al., DnCNN, TIP 2017, arXiv:1608.03981; Li et al., DHP,
    ECCV 2020, arXiv:2003.13683.

    Args:
        sigma (float | Sequence[float]): Standard deviation on the scale of
            0 to 255, or the ends of a range from which every image draws its
            own (a blind network).
        seed (int, optional): Gives every image its own noise, always the
            same, that depends on nothing but seed and file name: for
            validation. None draws new noise every time. Defaults to None.
        source (str): Key of the clean image. Defaults to ``'gt'``.
        target (str): Key of the noisy image. Defaults to ``'img'``.

    Raises:
        ValueError: If ``sigma`` is no level and no range.

    Examples:
        >>> clean = np.full((4, 5, 1), 128, np.uint8)
        >>> step = AddGaussianNoise(sigma=(0, 55), seed=0)
        >>> noisy = step({'gt': clean, 'gt_path': 'a.png'})['img']
        >>> noisy.shape, noisy.dtype
        ((4, 5, 1), dtype('float32'))
    """

    def __init__(
        self,
        sigma: Union[float, Sequence[float]],
        seed: Optional[int] = None,
        source: str = 'gt',
        target: str = 'img',
    ) -> None:
        ends = [sigma, sigma] if isinstance(sigma, (int, float)) else sigma
        if len(ends) != 2 or not 0 <= ends[0] <= ends[1]:
            raise ValueError(
                f'AddGaussianNoise: sigma is {sigma}, expected a number of '
                'at least 0 or a range (low, high) of such numbers.'
            )
        self.low, self.high = map(float, ends)
        self.seed = seed
        self.source = source
        self.target = target

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the noisy image to ``results``."""
        clean = results[self.source]
        draw = self._generator(results)
        sigma = draw.uniform(self.low, self.high)
        noise = draw.standard_normal(clean.shape, dtype=np.float32)
        results[self.target] = clean + np.float32(sigma) * noise
        _copy_description(results, self.source, self.target)
        return results

    def _generator(self, results: dict[str, Any]) -> np.random.Generator:
        if self.seed is None:  # of the worker, so seeded with the run
            return np.random.default_rng(np.random.randint(2**31))
        name = PurePath(results[f'{self.source}_path']).stem
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def __repr__(self) -> str:
        """Name and noise levels."""
        return (
            f'{type(self).__name__}(sigma=({self.low}, {self.high}), '
            f'seed={self.seed})'
        )


@TRANSFORMS.register_module(force=True)
class BicubicDownscale:
    """Make the low-resolution input of a folder that has only large images.

    By MATLAB's operator, see :func:`mmdhp.datasets.imresize.imresize`. The
    large image is cut at the bottom and on the right to a multiple of the
    scale. For training, prepare pairs once instead:
    ``tools/dataset_converters/prepare_subimages.py``.

    Required keys: ``source``. Added or changed keys: ``source``, ``target``,
    ``scale``.

    Args:
        scale (int): How many times smaller. Defaults to 4.
        source (str): Key of the large image. Defaults to ``'gt'``.
        target (str): Key of the small image. Defaults to ``'img'``.

    Raises:
        ValueError: If ``scale`` is below 1.

    Examples:
        >>> step = BicubicDownscale(scale=4)
        >>> results = step({'gt': np.zeros((9, 14, 3), np.uint8)})
        >>> results['gt'].shape, results['img'].shape
        ((8, 12, 3), (2, 3, 3))
    """

    def __init__(
        self, scale: int = 4, source: str = 'gt', target: str = 'img'
    ) -> None:
        if scale < 1:
            raise ValueError(
                f'BicubicDownscale: scale is {scale}, expected at least 1.'
            )
        self.scale = scale
        self.source = source
        self.target = target

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the small image to ``results``."""
        image = crop_to_multiple(results[self.source], self.scale)
        results[self.source] = image
        results[self.target] = imresize(image, 1 / self.scale)
        results['scale'] = self.scale
        _copy_description(results, self.source, self.target)
        return results

    def __repr__(self) -> str:
        """Name and scale."""
        return f'{type(self).__name__}(scale={self.scale})'


def _copy_description(
    results: dict[str, Any], source: str, target: str
) -> None:
    """What MMagic's preprocessor reads about the channels of an image."""
    for suffix in ('channel_order', 'color_type'):
        if f'{source}_{suffix}' in results:
            results[f'{target}_{suffix}'] = results[f'{source}_{suffix}']
