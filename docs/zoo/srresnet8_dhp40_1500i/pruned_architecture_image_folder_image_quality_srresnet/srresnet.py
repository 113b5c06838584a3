"""SRResNet with the 9x9 head and batch norms that DHP prunes."""

from typing import Optional, Union

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmengine.registry import MODELS

from .upsample import upsampler


class SRResidualBlock(BaseModule):
    """Residual block ``conv-BN-PReLU-conv-BN`` with an identity skip.

    Args:
        channels (int): Channels of input, inner and output feature maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act = nn.PReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of ``x``, ``(N, channels, H, W)``."""
        inner = self.act(self.bn1(self.conv1(x)))
        return x + self.bn2(self.conv2(inner))


@MODELS.register_module(force=True)
class SRResNet(BaseModule):
    """SRResNet generator, the super-resolution network of the DHP paper.

    It keeps what MMagic's ``MSRResNet`` simplified away: batch norms, the
    9x9 head, PReLUs and the global skip in feature space. Every conv has a
    bias. With the defaults it has 1535.638 k parameters, and 32.826720 G
    multiply-accumulates on a 128x128 input when BN and activations count.

    Source: Ledig et al., SRGAN, CVPR 2017, arXiv:1609.04802; sizes from
    Li et al., DHP, ECCV 2020, arXiv:2003.13683. The last conv is 3x3, as in
    DHP, where SRGAN has 9x9.

    Args:
        in_channels (int): Channels of the input image. Defaults to 3.
        out_channels (int): Channels of the output image. Defaults to 3.
        mid_channels (int): Channels of all features. Defaults to 64.
        num_blocks (int): Residual blocks. Defaults to 16.
        upscale_factor (int): Spatial scale. Defaults to 4.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.
            Defaults to None, PyTorch's own.

    Examples:
        >>> import torch
        >>> net = SRResNet(mid_channels=6, num_blocks=2)
        >>> net(torch.rand(2, 3, 5, 7)).shape
        torch.Size([2, 3, 20, 28])
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        mid_channels: int = 64,
        num_blocks: int = 16,
        upscale_factor: int = 4,
        init_cfg: Optional[Union[dict, list[dict]]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.head = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, 9, padding=4), nn.PReLU()
        )
        self.body = nn.Sequential(
            *(SRResidualBlock(mid_channels) for _ in range(num_blocks)),
            nn.Conv2d(mid_channels, mid_channels, 3, padding=1),
            nn.BatchNorm2d(mid_channels),
        )
        self.upsampler = upsampler(mid_channels, upscale_factor, nn.PReLU)
        self.tail = nn.Conv2d(mid_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Super-resolve an image.

        Args:
            x (Tensor): Low-resolution images, shape
                ``(N, in_channels, H, W)``.

        Returns:
            Tensor: Images of shape ``(N, out_channels, s * H, s * W)`` for
            the upscale factor ``s``.
        """
        shallow = self.head(x)
        return self.tail(self.upsampler(shallow + self.body(shallow)))
