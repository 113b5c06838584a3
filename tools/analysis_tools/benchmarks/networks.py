"""The networks of the benchmark, and a training step of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn import functional as F

import mmdhp
from mmdhp.registry import MODELS

SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
ADAM = dict(type='Adam', lr=1e-4)


@dataclass(frozen=True)
class Network:
    """A network of the papers and how they train it.

    Args:
        build (Callable): Returns it with random weights.
        shape (tuple[int]): One input, without the batch axis.
        batch (int): Batch size of the paper.
        cpu_batch (int): What a CPU can do in seconds.
        optimizer (dict): As in an MM config.
        groups (tuple): As for :func:`mmdhp.trace`.
        exclude (tuple[str]): As for :func:`mmdhp.trace`.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int = 64
    cpu_batch: int = 64
    optimizer: dict = field(default_factory=lambda: dict(SGD))
    groups: tuple = ()
    exclude: tuple = ()

    def size(self, device: torch.device, batch: Optional[int]) -> int:
        """The batch size asked for, else that of the paper or of a CPU."""
        if batch:
            return batch
        return self.batch if device.type == 'cuda' else self.cpu_batch


def built(**config: Any) -> Callable[[], nn.Module]:
    """Build a network of this project from its config."""
    return lambda: MODELS.build(dict(config))


def resnet50() -> nn.Module:
    """ResNet-50 for ImageNet, of torchvision."""
    from torchvision.models import resnet50

    return resnet50()


def cifar_resnet(depth: int, width: float = 1.0) -> Network:
    """ResNet for CIFAR of any depth and width."""
    kind = 'mmdhp.CIFARResNet'
    build = built(type=kind, depth=depth, width=width)
    return Network(build, (3, 32, 32))


NETWORKS = {
    'resnet20': cifar_resnet(20),
    'resnet56': cifar_resnet(56),
    'resnet110': cifar_resnet(110),
    'resnet164': cifar_resnet(164),
    'resnet50': Network(resnet50, (3, 224, 224), 256, 4),
    'srresnet': Network(
        built(type='mmdhp.SRResNet'),
        (3, 24, 24),
        16,
        4,
        ADAM,
        (('head.0', 'upsampler.*'),),
    ),
    'edsr': Network(
        built(type='mmdhp.EDSR'),
        (3, 48, 48),
        16,
        2,
        ADAM,
        (('head', 'upsampler.*'),),
        ('sub_mean', 'tail'),
    ),
    'dncnn': Network(built(type='mmdhp.DnCNN'), (1, 64, 64), 64, 8, ADAM),
}


def build(network: Network, device: torch.device) -> nn.Module:
    """A network with the same random weights every time."""
    torch.manual_seed(0)
    return network.build().to(device)


def trace(
    model: nn.Module, network: Network, shape: Sequence[int] = ()
) -> mmdhp.ChannelGraph:
    """Its channel graph, at another size of inputs if one is given."""
    device = next(model.parameters()).device
    inputs = torch.zeros(2, *(shape or network.shape), device=device)
    return mmdhp.trace(
        model, inputs, groups=network.groups, exclude=network.exclude
    )


def loss_of(model: nn.Module, batch: Tensor) -> Tensor:
    """A mean-square loss on the last output: costs next to nothing."""
    out = model(batch)
    out = out[-1] if isinstance(out, tuple) else out
    return F.mse_loss(out, torch.zeros_like(out))


def training_step(
    model: nn.Module,
    wrapper: OptimWrapper,
    batch: Tensor,
    before: Callable[[nn.Module], Any] = nn.Module.train,
) -> Callable[[], None]:
    """One training step as MMEngine runs it."""

    def step() -> None:
        before(model)
        wrapper.update_params(loss_of(model, batch))

    return step


def plain_wrapper(model: nn.Module, optimizer: dict) -> OptimWrapper:
    """The optimizer of ordinary training."""
    kind = getattr(torch.optim, optimizer['type'])
    arguments = {k: v for k, v in optimizer.items() if k != 'type'}
    return OptimWrapper(kind(model.parameters(), **arguments))
