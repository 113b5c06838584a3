"""EDSR in the 8-block, 128-channel shape that DHP prunes."""

from collections.abc import Sequence
from typing import Optional, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdhp.registry import MODELS

from .upsample import upsampler


class MeanShift(nn.Conv2d):
    """Frozen 1x1 conv that adds a constant colour to RGB images.

    Args:
        shift (Sequence[float]): Value added to each channel, in the range of
            the images.
    """

    bias: Tensor

    def __init__(self, shift: Sequence[float]) -> None:
        super().__init__(len(shift), len(shift), 1)
        self.shift = tuple(shift)
        self.requires_grad_(False)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Set identity and shift, in place, also after an ``init_cfg``."""
        nn.init.dirac_(self.weight)
        self.bias.copy_(self.bias.new_tensor(self.shift))


class EDSRBlock(BaseModule):
    """Residual block ``conv-ReLU-conv`` with a scaled residual.

    Args:
        channels (int): Channels of input, inner and output feature maps.
        res_scale (float): Factor on the residual.
    """

    def __init__(self, channels: int, res_scale: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of ``x``, ``(N, channels, H, W)``."""
        return x + self.res_scale * self.conv2(self.act(self.conv1(x)))


@MODELS.register_module()
class EDSR(BaseModule):
    """EDSR generator, the larger super-resolution network of the DHP paper.

    With the defaults it has 3696.667 k parameters, of which the 24 of the
    two mean shifts are frozen, and 90.370884 G multiply-accumulates on a
    128x128 input when activations count.

    Source: Lim et al., EDSR, CVPRW 2017, arXiv:1707.02921; sizes from
    Li et al., DHP, ECCV 2020, arXiv:2003.13683.

    Args:
        in_channels (int): Channels of the input image. Defaults to 3.
        out_channels (int): Channels of the output image. Defaults to 3.
        mid_channels (int): Channels of all features. Defaults to 128.
        num_blocks (int): Residual blocks. Defaults to 8.
        upscale_factor (int): Spatial scale. Defaults to 4.
        res_scale (float): Factor on every residual. Defaults to 1.
        rgb_mean (Sequence[float]): Mean colour of the training images as a
            fraction of the range, one value per channel. Defaults to that
            of DIV2K.
        rgb_range (float): Largest value of the images the network receives:
            1 behind MMagic's usual ``DataPreprocessor``, 255 in the paper.
            Defaults to 1.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.
            Defaults to None, PyTorch's own.

    Raises:
        ValueError: If ``rgb_mean`` does not have one value per channel.

    Examples:
        >>> import torch
        >>> net = EDSR(mid_channels=6, num_blocks=2, upscale_factor=3)
        >>> net(torch.rand(2, 3, 5, 7)).shape
        torch.Size([2, 3, 15, 21])
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        mid_channels: int = 128,
        num_blocks: int = 8,
        upscale_factor: int = 4,
        *,
        res_scale: float = 1.0,
        rgb_mean: Sequence[float] = (0.4488, 0.4371, 0.4040),
        rgb_range: float = 1.0,
        init_cfg: Optional[Union[dict, list[dict]]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if {in_channels, out_channels} != {len(rgb_mean)}:
            raise ValueError(
                f'EDSR: rgb_mean has {len(rgb_mean)} values for '
                f'in_channels={in_channels} and out_channels={out_channels}; '
                'give one value per image channel.'
            )
        mean = [rgb_range * value for value in rgb_mean]
        self.sub_mean = MeanShift([-value for value in mean])
        self.head = nn.Conv2d(in_channels, mid_channels, 3, padding=1)
        self.body = nn.Sequential(
            *(EDSRBlock(mid_channels, res_scale) for _ in range(num_blocks)),
            nn.Conv2d(mid_channels, mid_channels, 3, padding=1),
        )
        self.upsampler = upsampler(mid_channels, upscale_factor)
        self.tail = nn.Conv2d(mid_channels, out_channels, 3, padding=1)
        self.add_mean = MeanShift(mean)

    def forward(self, x: Tensor) -> Tensor:
        """Super-resolve an image.

        Args:
            x (Tensor): Low-resolution images in ``[0, rgb_range]``, shape
                ``(N, in_channels, H, W)``.

        Returns:
            Tensor: Images of shape ``(N, out_channels, s * H, s * W)`` for
            the upscale factor ``s``.
        """
        shallow = self.head(self.sub_mean(x))
        deep = self.upsampler(shallow + self.body(shallow))
        return self.add_mean(self.tail(deep))
