"""What happens to an image before a network sees it.

OpenMMLab's models leave normalisation to a data preprocessor, which a file
for other runtimes does not hold. Here it is read off, so that it can be told,
or become a part of the network.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn import functional as F

# Preprocessors that do not more than this module knows, by class.
PLAIN = ('BaseDataPreprocessor',)
NORMALISING = ('ClsDataPreprocessor', 'ImgDataPreprocessor')
SWAPPED = {'RGB': 'BGR', 'BGR': 'RGB'}
IMAGE_DATASETS_IN_RGB = ('CIFAR', 'MNIST', 'FashionMNIST')


@dataclass(frozen=True)
class Preprocessing:
    """How an image, bytes from 0 to 255, becomes the network's input.

    ``(image - mean) / std``, filled up at the bottom and on the right.

    Attributes:
        kind (str): Class of the data preprocessor.
        mean (tuple[float, ...]): One number, or one per channel, in the
            network's order of channels.
        std (tuple[float, ...]): Likewise.
        channel_order (str | None): ``'RGB'``, ``'BGR'``, ``'gray'``, or None
            if the config does not tell.
        pad_divisor (int): Height and width become multiples of it.
        pad_value (float): What is filled in.
        pad_mode (str): As of :func:`torch.nn.functional.pad`.
        pads_first (bool): Whether images are filled up before they are
            normalised, as MMagic's loaders have it, or after that.
        known (bool): Whether the preprocessor is understood; if not, the
            rest means nothing.
    """

    kind: str
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channel_order: Optional[str] = None
    pad_divisor: int = 1
    pad_value: float = 0.0
    pad_mode: str = 'constant'
    pads_first: bool = False
    known: bool = True


class Preprocessor(nn.Module):
    """Preprocessing as a part of a network.

    Args:
        facts (Preprocessing): What to do.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, facts: Preprocessing) -> None:
        super().__init__()
        self.facts = facts
        for name in ('mean', 'std'):
            values = torch.tensor(getattr(facts, name)).view(1, -1, 1, 1)
            self.register_buffer(name, values)

    def forward(self, images: Tensor) -> Tensor:
        """Make network inputs of images.

        Args:
            images (Tensor): Values from 0 to 255, shape ``(n, c, h, w)``.

        Returns:
            Tensor: Shape ``(n, c, h', w')``.
        """
        if self.facts.pads_first:
            return (self._pad(images) - self.mean) / self.std
        return self._pad((images - self.mean) / self.std)

    def _pad(self, images: Tensor) -> Tensor:
        divisor, mode = self.facts.pad_divisor, self.facts.pad_mode
        if divisor == 1:
            return images
        height, width = images.shape[-2:]
        missing = (0, -width % divisor, 0, -height % divisor)
        value = self.facts.pad_value if mode == 'constant' else None
        return F.pad(images, missing, mode, value)

    def images_of(self, outputs: Tensor) -> Tensor:
        """Make images of the outputs of a restoration network.

        As MMagic does: the same mean and deviation, limited to [0, 255].

        Args:
            outputs (Tensor): Shape ``(n, c, h, w)``.
        """
        return (outputs * self.std + self.mean).clamp(0, 255)


def preprocessing_of(
    model: nn.Module, cfg: Config, channels: int
) -> Preprocessing:
    """Read off what a model's data preprocessor does in a test.

    Args:
        model (nn.Module): An OpenMMLab model, or any other.
        cfg (Config): Its config, whose pipeline tells the order of channels.
        channels (int): Of an image.
    """
    found: Any = getattr(model, 'data_preprocessor', None)
    order = loaded_order(cfg, channels)
    if found is None:
        return Preprocessing('none', channel_order=order)
    kind = type(found).__name__
    if kind in PLAIN:
        return Preprocessing(kind, channel_order=order)
    ancestors = {base.__name__ for base in type(found).__mro__}
    if not ancestors.intersection(NORMALISING):
        return Preprocessing(kind, known=False)
    mean, std = _statistics(found)
    return Preprocessing(
        kind,
        mean=mean,
        std=std,
        channel_order=_network_order(found, order, channels),
        pad_divisor=int(found.pad_size_divisor),
        pad_value=float(found.pad_value),
        pad_mode=getattr(found, 'pad_mode', 'constant'),
        pads_first=hasattr(found, 'output_channel_order'),
    )


def _statistics(found: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not found._enable_normalize:
        return (0.0,), (1.0,)
    return tuple(found.mean.flatten().tolist()), tuple(
        found.std.flatten().tolist()
    )


def _network_order(
    found: Any, loaded: Optional[str], channels: int
) -> Optional[str]:
    """Order of channels behind a data preprocessor."""
    wanted = getattr(found, 'output_channel_order', None)
    if channels != 3:
        return loaded
    if wanted is not None:  # MMagic
        return wanted
    swaps = getattr(found, 'to_rgb', False) or getattr(
        found, '_channel_conversion', False
    )
    if not swaps:
        return loaded
    return 'RGB' if loaded is None else SWAPPED[loaded]


def loaded_order(cfg: Config, channels: int) -> Optional[str]:
    """Order of channels in which a config's test pipeline gives images.

    Returns:
        str | None: ``'RGB'``, ``'BGR'`` or ``'gray'``; None if it does not
        tell.
    """
    if channels == 1:
        return 'gray'
    dataset = next(_datasets(cfg), {})
    for transform in dataset.get('pipeline') or []:
        kind = str(transform.get('type', '')).rpartition('.')[2]
        if kind.startswith('Load') and 'Image' in kind:
            return str(transform.get('channel_order', 'bgr')).upper()
    kind = str(dataset.get('type', '')).rpartition('.')[2]
    return 'RGB' if kind.startswith(IMAGE_DATASETS_IN_RGB) else None


def pipeline_of(cfg: Config) -> list[dict[str, Any]]:
    """The transforms before the data preprocessor in a test, as configured."""
    dataset = next(_datasets(cfg), {})
    return [dict(step) for step in dataset.get('pipeline') or []]


def _datasets(cfg: Config) -> Iterator[Mapping[str, Any]]:
    """Innermost data sets of a config, those for tests first."""
    for key in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        loaders = cfg.get(key) or []
        if not isinstance(loaders, (list, tuple)):
            loaders = [loaders]
        for loader in loaders:
            dataset = loader.get('dataset') or {}
            while dataset.get('dataset') and not dataset.get('pipeline'):
                dataset = dataset['dataset']
            yield dataset
