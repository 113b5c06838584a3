"""MATLAB's bicubic ``imresize``, pixel for pixel."""

import math

import numpy as np

SUPPORT = 4  # width of the cubic kernel, in pixels of the smaller image


def imresize(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize an image by MATLAB's antialiased bicubic interpolation.

    The low-resolution images of Set5, Set14, B100, Urban100 and DIV2K were
    made by it. 8-bit images are rounded twice, behind the vertical and behind
    the horizontal pass, and pixels beyond the border repeat the last one, as
    in the MATLAB releases that made those files; newer ones mirror there.
    OpenCV does not antialias, PyTorch's kernel has another shape (a = -0.75),
    and MMagic's ``MATLABLikeResize`` mirrors and does not round.

    Source: Keys, Cubic convolution interpolation for digital image
    processing, 1981 (a = -0.5), stretched by ``1 / scale`` to reduce.

    Args:
        image (np.ndarray): Image of shape ``(H, W)`` or ``(H, W, C)``,
            ``uint8`` or floating point.
        scale (float): Size of the result relative to the image, such as
            ``1 / 4``.

    Returns:
        np.ndarray: Image of shape ``(ceil(scale * H), ceil(scale * W), ...)``
        and of the dtype of ``image``.

    Raises:
        ValueError: If ``scale`` is not positive or the image not an image.

    Examples:
        >>> imresize(np.full((6, 10, 3), 7, np.uint8), 1 / 4).shape
        (2, 3, 3)
    """
    if not scale > 0:
        raise ValueError(f'imresize: scale is {scale}, expected above 0.')
    if image.ndim not in (2, 3) or not image.size:
        raise ValueError(
            f'imresize: the image has shape {image.shape}, expected '
            '(H, W) or (H, W, C).'
        )
    for axis in (0, 1):
        image = _resize_axis(image, scale, axis)
    return image


def crop_to_multiple(image: np.ndarray, factor: int) -> np.ndarray:
    """Cut bottom and right, so that both sizes are multiples of ``factor``.

    Args:
        image (np.ndarray): Image of shape ``(H, W, ...)``.
        factor (int): Of both sizes of the result.

    Returns:
        np.ndarray: A view of the image.
    """
    height, width = (size // factor * factor for size in image.shape[:2])
    return image[:height, :width]


def _resize_axis(image: np.ndarray, scale: float, axis: int) -> np.ndarray:
    """Resize along one axis, rounded if the image is 8-bit."""
    weights, indices = _taps(image.shape[axis], scale)
    rows = np.moveaxis(image, axis, 0).astype(np.float64)  # (n, ...)
    shape = (-1,) + (1,) * (rows.ndim - 1)
    resized = sum(
        weight.reshape(shape) * rows[index]
        for weight, index in zip(weights.T, indices.T)
    )
    resized = np.moveaxis(np.asarray(resized), 0, axis)
    if image.dtype == np.uint8:
        resized = np.floor(resized.clip(0, 255) + 0.5)  # halves go up
    return resized.astype(image.dtype)


def _taps(size: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and source pixels of every pixel along a resized axis.

    Returns:
        tuple: Two arrays of shape ``(ceil(scale * size), taps)``.
    """
    stretch = min(scale, 1.0)
    positions = np.arange(math.ceil(scale * size))
    centres = (positions + 0.5) / scale - 0.5
    radius = SUPPORT / stretch / 2
    offsets = np.arange(math.ceil(2 * radius) + 2)
    first = np.floor(centres - radius)
    indices = (first[:, None] + offsets).astype(np.int64)  # (out, taps)
    weights = _cubic(stretch * (centres[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, indices.clip(0, size - 1)


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5."""
    x = np.abs(distance)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= 2))
