"""DnCNN, the plain denoising chain that DHP prunes."""

from typing import Optional, Union

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmengine.registry import MODELS


@MODELS.register_module(force=True)
class DnCNN(BaseModule):
    """DnCNN denoiser, ``conv-ReLU, n x (conv-BN-ReLU), conv`` plus input.

    With the defaults it has 557.057 k parameters, and 9.126806 G
    multiply-accumulates on a 128x128 input when BN and activations count.

    Source: Zhang et al., DnCNN, TIP 2017, arXiv:1608.03981; sizes from
    Li et al., DHP, ECCV 2020, arXiv:2003.13683. The last conv learns the
    negative noise, so that the output is a sum.

    Args:
        in_channels (int): Channels of the noisy and of the clean image.
            Defaults to 1, gray.
        mid_channels (int): Channels of all features. Defaults to 64.
        num_blocks (int): Blocks ``conv-BN-ReLU``. Defaults to 15.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.
            Defaults to None, PyTorch's own.

    Examples:
        >>> import torch
        >>> net = DnCNN(in_channels=3, mid_channels=6, num_blocks=2)
        >>> net(torch.rand(2, 3, 5, 7)).shape
        torch.Size([2, 3, 5, 7])
    """

    def __init__(
        self,
        in_channels: int = 1,
        mid_channels: int = 64,
        num_blocks: int = 15,
        init_cfg: Optional[Union[dict, list[dict]]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.head = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.body = nn.Sequential(
            *(self._make_block(mid_channels) for _ in range(num_blocks))
        )
        self.tail = nn.Conv2d(mid_channels, in_channels, 3, padding=1)

    @staticmethod
    def _make_block(channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Remove noise; both tensors have shape ``(N, in_channels, H, W)``."""
        return x + self.tail(self.body(self.head(x)))
