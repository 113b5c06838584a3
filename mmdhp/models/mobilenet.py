"""MobileNets that MMPretrain lacks: V1, and V2 for small images."""

from collections.abc import Sequence
from typing import Optional, Union

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdhp.registry import MODELS

V1_WIDTHS = (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
V1_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
# expansion, output channels and repeats of the stages
V2_STAGES = (
    (1, 16, 1),
    (6, 24, 2),
    (6, 32, 3),
    (6, 64, 4),
    (6, 96, 3),
    (6, 160, 3),
    (6, 320, 1),
)


def conv_bn_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Build a bias-free conv with "same" padding, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


@MODELS.register_module()
class MobileNetV1(BaseModule):
    """A stem and 13 depthwise-separable convs, 32 to 1024 channels.

    With the defaults it is the ImageNet network, which Tiny-ImageNet
    experiments take over unchanged: 47.4 M multiply-accumulates on a 64x64
    image, with BN and 200 classes. CIFAR uses ``stem_stride=1``.

    Source: Howard et al., MobileNets, arXiv:1704.04861. The dropout of DHP's
    version is in :class:`PoolingDropout`.

    Args:
        widen_factor (float): Factor on the channels of every layer. Defaults
            to 1.0.
        stem_stride (int): Stride of the first conv. Defaults to 2.
        in_channels (int): Channels of the image. Defaults to 3.
        out_indices (Sequence[int]): Blocks to return, from 0 to 12. Defaults
            to ``(12, )``.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.
            Defaults to Kaiming-normal convs.

    Raises:
        ValueError: If ``out_indices`` names a block that does not exist.

    Examples:
        >>> import torch
        >>> net = MobileNetV1(widen_factor=0.25, out_indices=(4, 12))
        >>> [tuple(out.shape) for out in net(torch.rand(2, 3, 64, 64))]
        [(2, 64, 8, 8), (2, 256, 2, 2)]
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        stem_stride: int = 2,
        in_channels: int = 3,
        out_indices: Sequence[int] = (12,),
        init_cfg: Optional[Union[dict, list[dict]]] = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = dict(type='Kaiming', layer='Conv2d')
        super().__init__(init_cfg=init_cfg)
        if not set(out_indices) <= set(range(len(V1_WIDTHS))):
            raise ValueError(
                f'MobileNetV1: out_indices is {tuple(out_indices)}, expected '
                f'blocks from 0 to {len(V1_WIDTHS) - 1}.'
            )
        self.out_indices = tuple(out_indices)
        channels = int(32 * widen_factor)
        self.stem = conv_bn_relu(in_channels, channels, 3, stem_stride)
        self.blocks = nn.ModuleList()
        for width, stride in zip(V1_WIDTHS, V1_STRIDES):
            wider = int(width * widen_factor)
            self.blocks.append(
                nn.Sequential(
                    conv_bn_relu(channels, channels, 3, stride, channels),
                    conv_bn_relu(channels, wider, 1),
                )
            )
            channels = wider

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Extract features.

        Args:
            x (Tensor): Images of shape ``(N, in_channels, H, W)``.

        Returns:
            tuple[Tensor]: Features of the blocks in ``out_indices``.
        """
        x = self.stem(x)
        outs = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)


@MODELS.register_module(name='MobileNetV2')
def build_mobilenet_v2(
    strides: Sequence[int] = (1, 2, 2, 2, 1, 2, 1),
    stem_stride: int = 2,
    widen_factor: float = 1.0,
    out_indices: Sequence[int] = (7,),
    act_cfg: Optional[dict] = None,
    init_cfg: Optional[Union[dict, list[dict]]] = None,
) -> nn.Module:
    """Build MMPretrain's ``MobileNetV2`` with the strides of small images.

    MMPretrain fixes the strides to ImageNet's. What is returned is its own
    class with its own keys; only strides differ.

    ========================= =============== ===========================
    images                    ``stem_stride`` ``strides``
    ========================= =============== ===========================
    ImageNet                  2               ``(1, 2, 2, 2, 1, 2, 1)``
    Tiny-ImageNet (DHP)       2               ``(1, 1, 2, 2, 1, 2, 1)``
    CIFAR (HSN)               1               ``(1, 1, 1, 2, 1, 2, 1)``
    ========================= =============== ===========================

    Source: Sandler et al., MobileNetV2, CVPR 2018, arXiv:1801.04381; strides
    from Li et al., DHP, ECCV 2020, arXiv:2003.13683. HSN does not specify its
    CIFAR network; the one here has two stages of stride 2 and, with ReLU and
    10 classes, 296 M multiply-accumulates (305 M with BN).

    Args:
        strides (Sequence[int]): Stride of each of the 7 stages. Defaults to
            ImageNet's.
        stem_stride (int): Stride of the first conv. Defaults to 2.
        widen_factor (float): As upstream. Defaults to 1.0.
        out_indices (Sequence[int]): As upstream. Defaults to ``(7, )``.
        act_cfg (dict, optional): As upstream. Defaults to None, ReLU6.
        init_cfg (dict | list[dict], optional): As upstream. Defaults to
            None, upstream's initialisation.

    Returns:
        nn.Module: The backbone.

    Raises:
        ValueError: If ``strides`` are not 7.
    """
    from mmpretrain.models import MobileNetV2  # heavy, and optional

    if len(strides) != len(V2_STAGES):
        raise ValueError(
            f'MobileNetV2: strides has {len(strides)} values, expected one '
            f'for each of {len(V2_STAGES)} stages.'
        )
    settings = [[*s, stride] for s, stride in zip(V2_STAGES, strides)]
    strided = type('MobileNetV2', (MobileNetV2,), {'arch_settings': settings})
    options: dict = {}
    if init_cfg is not None:
        options['init_cfg'] = init_cfg
    backbone = strided(
        widen_factor=widen_factor,
        out_indices=out_indices,
        act_cfg=act_cfg or dict(type='ReLU6'),
        **options,
    )
    backbone.conv1.conv.stride = (stem_stride, stem_stride)
    return backbone


@MODELS.register_module()
class PoolingDropout(BaseModule):
    """Neck that averages over positions and drops features in training.

    Source: Li et al., DHP, ECCV 2020, arXiv:2003.13683, whose MobileNets have
    dropout in front of the classifier. MMPretrain's linear head has none.

    Args:
        dropout (float): Probability that a feature is dropped. Defaults to
            0.2.

    Examples:
        >>> import torch
        >>> PoolingDropout()((torch.rand(2, 7, 5, 3),))[-1].shape
        torch.Size([2, 7])
    """

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map each ``(N, C, H, W)`` to ``(N, C)``."""
        return tuple(self.dropout(x.mean((2, 3))) for x in features)
