"""The three-stage ResNets of the CIFAR experiments."""

from collections.abc import Sequence
from typing import Optional, Union

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmengine.registry import MODELS


def conv_bn(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> nn.Sequential:
    """Build a bias-free conv with "same" padding, and its batch norm."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
    )


class CIFARResidual(BaseModule):
    """Residual block of ``residual`` branch, shortcut and final ReLU.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Spatial stride of the block.
        residual (nn.Module): Branch from ``in_channels`` to
            ``out_channels`` with the given stride.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        residual: nn.Module,
    ) -> None:
        super().__init__()
        self.residual = residual
        # "Type C" projects, with conv and BN, only where the shape changes.
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = conv_bn(in_channels, out_channels, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to the block's output."""
        return self.relu(self.residual(x) + self.shortcut(x))


class CIFARBasicBlock(CIFARResidual):
    """Two 3x3 convs, the first with the stride.

    Args:
        in_channels (int): Channels of the input.
        channels (int): Channels inside the block and of its output.
        stride (int): Spatial stride of the block.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        residual = nn.Sequential(
            conv_bn(in_channels, channels, 3, stride),
            nn.ReLU(inplace=True),
            conv_bn(channels, channels, 3),
        )
        super().__init__(in_channels, channels, stride, residual)


class CIFARBottleneck(CIFARResidual):
    """1x1, 3x3 and 1x1 convs, the 3x3 with the stride.

    Args:
        in_channels (int): Channels of the input.
        channels (int): Channels inside the block; its output has 4 times as
            many.
        stride (int): Spatial stride of the block.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        out_channels = self.expansion * channels
        residual = nn.Sequential(
            conv_bn(in_channels, channels, 1),
            nn.ReLU(inplace=True),
            conv_bn(channels, channels, 3, stride),
            nn.ReLU(inplace=True),
            conv_bn(channels, out_channels, 1),
        )
        super().__init__(in_channels, out_channels, stride, residual)


@MODELS.register_module(force=True)
class CIFARResNet(BaseModule):
    """ResNet for 32x32 images: three stages of 16, 32 and 64 channels.

    MMPretrain's ``ResNet_CIFAR`` is an ImageNet ResNet (four stages from 64
    channels) with a small stem; this is the network that pruning papers call
    ResNet-20, -56, -110 or -164. Depths of at most 56 use basic blocks,
    ``(depth - 2) / 6`` per stage; deeper ones use bottlenecks,
    ``(depth - 2) / 9`` per stage.

    Source: He et al., Deep Residual Learning, CVPR 2016, arXiv:1512.03385;
    projection shortcuts and the depth rule from Li et al., DHP, ECCV 2020,
    arXiv:2003.13683.

    Args:
        depth (int): Number of weighted layers, such as 20, 56, 110 or 164.
        width (float): Factor on the channels of every layer. Defaults to 1.
        in_channels (int): Channels of the image. Defaults to 3.
        out_indices (Sequence[int]): Stages to return, from 0 to 2.
            Defaults to ``(2, )``.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.
            Defaults to Kaiming-normal convs.

    Raises:
        ValueError: If no network of this ``depth`` exists, or if
            ``out_indices`` names a stage that does not.

    Examples:
        >>> import torch
        >>> (features,) = CIFARResNet(depth=8)(torch.rand(2, 3, 32, 32))
        >>> features.shape
        torch.Size([2, 64, 8, 8])
    """

    def __init__(
        self,
        depth: int,
        width: float = 1.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (2,),
        init_cfg: Optional[Union[dict, list[dict]]] = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = dict(type='Kaiming', layer='Conv2d')
        super().__init__(init_cfg=init_cfg)
        if not set(out_indices) <= {0, 1, 2}:
            raise ValueError(
                f'CIFARResNet: out_indices is {tuple(out_indices)}, expected '
                'stages out of 0, 1 and 2.'
            )
        self.out_indices = tuple(out_indices)
        block, num_blocks = _arrangement(depth)
        widths = [int(width * channels) for channels in (16, 32, 64)]
        self.stem = conv_bn(in_channels, widths[0], 3)
        self.relu = nn.ReLU(inplace=True)
        self.stages = nn.ModuleList()
        channels_from = widths[0]
        for stride, channels in zip((1, 2, 2), widths):
            blocks = []
            for index in range(num_blocks):
                blocks.append(
                    block(channels_from, channels, stride if not index else 1)
                )
                channels_from = block.expansion * channels
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Extract features.

        Args:
            x (Tensor): Images of shape ``(N, in_channels, H, W)``.

        Returns:
            tuple[Tensor]: Features of the stages in ``out_indices``, at
            strides 1, 2 and 4.
        """
        x = self.relu(self.stem(x))
        outs = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)


def _arrangement(
    depth: int,
) -> tuple[type[Union[CIFARBasicBlock, CIFARBottleneck]], int]:
    """Return the block class and the blocks per stage of a depth."""
    deep = depth > 56
    block = CIFARBottleneck if deep else CIFARBasicBlock
    layers = 9 if deep else 6
    num_blocks, rest = divmod(depth - 2, layers)
    if num_blocks < 1 or rest:
        raise ValueError(
            f'CIFARResNet: depth is {depth}, expected 6n + 2 up to 56 or '
            '9n + 2 above, such as 20, 32, 44, 56, 110 or 164.'
        )
    return block, num_blocks
