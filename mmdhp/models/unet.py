"""UNet, the multi-scale denoiser that DHP prunes."""

from typing import Optional, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmdhp.registry import MODELS


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build ``conv-ReLU-conv-ReLU`` of 3x3 convs.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of both convs' outputs.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class UNetDecoder(BaseModule):
    """Doubles the resolution and merges features of the encoder.

    Args:
        in_channels (int): Channels of the coarser features.
        out_channels (int): Channels of the skipped features and the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.convs = double_conv(2 * out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge features.

        Args:
            x (Tensor): Coarser features, shape ``(N, in_channels, H, W)``.
            skip (Tensor): Features of the encoder, shape
                ``(N, out_channels, 2 * H, 2 * W)``.

        Returns:
            Tensor: Features of the shape of ``skip``.
        """
        return self.convs(torch.cat([self.up(x), skip], dim=1))


@MODELS.register_module()
class UNet(BaseModule):
    """UNet denoiser with 2x2 max-pooling and transposed convs.

    Every level but the coarsest has a skip to its decoder, taken before the
    pooling. All convs have biases; there is no BN, and no skip from input to
    output. With the defaults it has 7759.521 k parameters. The paper's
    3.411018 G multiply-accumulates on a 128x128 input count every transposed
    conv at each of its output pixels, four times what it computes.

    Source: Ronneberger et al., U-Net, MICCAI 2015, arXiv:1505.04597; sizes
    from Li et al., DHP, ECCV 2020, arXiv:2003.13683.

    Args:
        in_channels (int): Channels of the noisy and of the clean image.
            Defaults to 1, gray.
        base_channels (int): Channels at full resolution; they double from
            level to level. Defaults to 32.
        num_levels (int): Resolutions, at least 2. Defaults to 5.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.
            Defaults to None, PyTorch's own.

    Raises:
        ValueError: If ``num_levels`` is below 2.

    Examples:
        >>> import torch
        >>> net = UNet(in_channels=3, base_channels=4, num_levels=3)
        >>> net(torch.rand(2, 3, 8, 12)).shape
        torch.Size([2, 3, 8, 12])
    """

    def __init__(
        self,
        in_channels: int = 1,
        base_channels: int = 32,
        num_levels: int = 5,
        init_cfg: Optional[Union[dict, list[dict]]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_levels < 2:
            raise ValueError(
                f'UNet: num_levels is {num_levels}, expected at least 2.'
            )
        widths = [base_channels * 2**level for level in range(num_levels)]
        self.encoders = nn.ModuleList(
            double_conv(before, after)
            for before, after in zip([in_channels, *widths], widths)
        )
        self.pool = nn.MaxPool2d(2)
        self.decoders = nn.ModuleList(
            UNetDecoder(coarse, fine)
            for coarse, fine in zip(widths[:0:-1], widths[-2::-1])
        )
        self.tail = nn.Conv2d(base_channels, in_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Remove noise; both tensors have shape ``(N, in_channels, H, W)``.

        Sizes that cannot be halved often enough are filled up at the bottom
        and on the right by repeating the last row and column.
        """
        divisor = 2 ** len(self.decoders)
        height, width = x.shape[-2:]
        missing = -height % divisor, -width % divisor
        x = F.pad(x, (0, missing[1], 0, missing[0]), mode='replicate')
        skips = []
        for level, encoder in enumerate(self.encoders):
            x = encoder(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for decoder in self.decoders:
            x = decoder(x, skips.pop())
        return self.tail(x)[..., :height, :width]
