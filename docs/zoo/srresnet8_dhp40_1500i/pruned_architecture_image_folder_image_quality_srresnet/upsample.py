"""Sub-pixel upsampling shared by the super-resolution networks."""

from typing import Callable, Optional

from torch import nn


def upsampler(
    channels: int,
    factor: int,
    activation: Optional[Callable[[], nn.Module]] = None,
) -> nn.Sequential:
    """Build a sub-pixel upsampler of ``[conv, PixelShuffle, activation]``.

    Powers of two are climbed in steps of 2; the odd rest of the factor, if
    any, is one last step.

    Source: Shi et al., ESPCN, CVPR 2016, arXiv:1609.05158.

    Args:
        channels (int): Channels of input and output.
        factor (int): Spatial scale, at least 1. With 1 nothing is built.
        activation (Callable, optional): Called once per step for the module
            behind the shuffle. Defaults to None, no activation.

    Returns:
        nn.Sequential: Maps ``(N, channels, H, W)`` to
        ``(N, channels, factor * H, factor * W)``.

    Raises:
        ValueError: If ``factor`` is below 1.

    Examples:
        >>> import torch
        >>> upsampler(5, 6)(torch.rand(2, 5, 3, 4)).shape
        torch.Size([2, 5, 18, 24])
    """
    if factor < 1:
        raise ValueError(
            f'upsampler: factor is {factor}, expected an integer >= 1.'
        )
    layers: list[nn.Module] = []
    for step in _steps(factor):
        layers += [
            nn.Conv2d(channels, channels * step**2, 3, padding=1),
            nn.PixelShuffle(step),
        ]
        if activation is not None:
            layers.append(activation())
    return nn.Sequential(*layers)


def _steps(factor: int) -> list[int]:
    steps = []
    while factor % 2 == 0:
        steps.append(2)
        factor //= 2
    return steps if factor == 1 else [*steps, factor]
