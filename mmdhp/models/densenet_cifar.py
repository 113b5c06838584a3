"""The three-block DenseNets of the CIFAR experiments."""

from typing import Optional, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdhp.registry import MODELS


def norm_conv(
    in_channels: int, out_channels: int, kernel_size: int
) -> nn.Sequential:
    """Build batch norm, ReLU and a bias-free conv with "same" padding."""
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            padding=kernel_size // 2,
            bias=False,
        ),
    )


class CIFARDenseLayer(BaseModule):
    """Appends ``growth_rate`` channels to its input.

    Args:
        in_channels (int): Channels of the input.
        growth_rate (int): Channels that the layer computes.
        bottleneck (bool): Whether a 1x1 conv to ``4 * growth_rate`` channels
            comes before the 3x3 conv.
    """

    def __init__(
        self, in_channels: int, growth_rate: int, bottleneck: bool
    ) -> None:
        super().__init__()
        layers = []
        if bottleneck:
            layers.append(norm_conv(in_channels, 4 * growth_rate, 1))
            in_channels = 4 * growth_rate
        layers.append(norm_conv(in_channels, growth_rate, 3))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C + growth_rate, H, W)``."""
        return torch.cat([x, self.layers(x)], dim=1)


@MODELS.register_module()
class CIFARDenseNet(BaseModule):
    """DenseNet for 32x32 images: three dense blocks, two transitions.

    MMPretrain's ``DenseNet`` is the ImageNet network (four blocks of
    bottlenecks behind a stride-4 stem). With the defaults this is the network
    that pruning papers call DenseNet-12-40, or DenseNet-40. Its layers read
    the channels of all layers before them, so that a channel is pruned once
    and disappears from every reader.

    Source: Huang et al., Densely Connected Convolutional Networks, CVPR 2017,
    arXiv:1608.06993; the stem of ``2 * growth_rate`` channels from Li et al.,
    DHP, ECCV 2020, arXiv:2003.13683. DHP does not print its ``reduction``;
    1.0 is what the methods it compares DenseNet-40 with have.

    Args:
        depth (int): Number of weighted layers, ``3n + 4``; ``6n + 4`` with
            bottlenecks. Defaults to 40.
        growth_rate (int): Channels that each layer adds. Defaults to 12.
        reduction (float): Channels behind a transition, as a fraction of
            those before it, in (0, 1]. Defaults to 1.0.
        bottleneck (bool): Whether layers have a 1x1 conv before the 3x3 conv.
            Defaults to False.
        stem_channels (int, optional): Channels of the first conv. Defaults to
            None, ``2 * growth_rate``.
        in_channels (int): Channels of the image. Defaults to 3.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.
            Defaults to Kaiming-normal convs.

    Raises:
        ValueError: If no network of this ``depth`` exists, or if
            ``reduction`` is out of range.

    Examples:
        >>> import torch
        >>> net = CIFARDenseNet(depth=10, growth_rate=4)
        >>> (features,) = net(torch.rand(2, 3, 32, 32))
        >>> features.shape
        torch.Size([2, 32, 8, 8])
        >>> net.out_channels
        32
    """

    def __init__(
        self,
        depth: int = 40,
        growth_rate: int = 12,
        reduction: float = 1.0,
        bottleneck: bool = False,
        stem_channels: Optional[int] = None,
        in_channels: int = 3,
        init_cfg: Optional[Union[dict, list[dict]]] = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = dict(type='Kaiming', layer='Conv2d')
        super().__init__(init_cfg=init_cfg)
        num_layers = _layers_per_block(depth, bottleneck)
        if not 0 < reduction <= 1:
            raise ValueError(
                f'CIFARDenseNet: reduction is {reduction}, expected the '
                'fraction of channels that a transition keeps, in (0, 1].'
            )
        channels = stem_channels or 2 * growth_rate
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList()
        self.transitions = nn.ModuleList()
        for index in range(3):
            layers = []
            for _ in range(num_layers):
                layers.append(
                    CIFARDenseLayer(channels, growth_rate, bottleneck)
                )
                channels += growth_rate
            self.blocks.append(nn.Sequential(*layers))
            if index < 2:
                reduced = int(reduction * channels)
                self.transitions.append(
                    nn.Sequential(
                        norm_conv(channels, reduced, 1), nn.AvgPool2d(2)
                    )
                )
                channels = reduced
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.out_channels = channels

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Extract features.

        Args:
            x (Tensor): Images of shape ``(N, in_channels, H, W)``.

        Returns:
            tuple[Tensor]: Features of shape
            ``(N, out_channels, H // 4, W // 4)``.
        """
        x = self.blocks[0](self.stem(x))
        for transition, block in zip(self.transitions, self.blocks[1:]):
            x = block(transition(x))
        return (self.relu(self.norm(x)),)


def _layers_per_block(depth: int, bottleneck: bool) -> int:
    """Return the dense layers of each of the three blocks."""
    period = 6 if bottleneck else 3
    num_layers, rest = divmod(depth - 4, period)
    if num_layers < 1 or rest:
        raise ValueError(
            f'CIFARDenseNet: depth is {depth}, expected {period}n + 4, such '
            'as 40 or 100.'
        )
    return num_layers
