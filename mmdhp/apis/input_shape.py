"""The shape of a model's input, as its config tells it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import torch
from mmengine.config import Config
from torch import nn

from mmdhp.graph import GraphError, trace
from mmdhp.models.model_forward import run_model

from .configs import pruner_of

# What crops and resizes call their size.
SIZE_KEYS = ('crop_size', 'gt_patch_size', 'size', 'scale', 'img_scale')
DETECTION_SIZES = (256, 512)
DATA_SIZES = {'CIFAR': 32, 'MNIST': 32, 'FashionMNIST': 32}
_LARGEST = 4096  # pixels; what is larger is no size of an image


@dataclass(frozen=True)
class InputShape:
    """Shape of one input, and where it comes from.

    Args:
        shape (tuple[int]): Without the batch axis, pixels.
        source (str): For people.
    """

    shape: tuple[int, ...]
    source: str


def find_input_shape(
    cfg: Config, model: nn.Module, given: Optional[Sequence[int]] = None
) -> InputShape:
    """Input shape at which the costs of a config's model are counted.

    Args:
        cfg (Config): Its pruner, model and pipelines are asked, in this order.
        model (nn.Module): Built from it; a shape at which it does not run is
            passed over.
        given (Sequence[int], optional): What the user says counts alone.

    Raises:
        ValueError: If nothing tells the shape, or the model runs at none that
            was found.
    """
    if given:
        return InputShape(tuple(given), 'as given')
    if pruner_of(cfg).get('input_shape'):
        return InputShape(tuple(pruner_of(cfg)['input_shape']), 'the pruner')
    found = list(dict.fromkeys(candidates(cfg)))
    if not found:
        raise ValueError(
            f'{cfg.filename} has no pruner, so its input is unknown: no '
            'pipeline or model in it tells a size either. Give it as '
            '--input-shape, for example 3 224 224.'
        )
    problems = []
    for candidate in found:
        try:
            trace(model, torch.zeros(2, *candidate.shape), forward=run_model)
        except GraphError as error:
            problems.append(f'{candidate.shape} ({candidate.source}): {error}')
        else:
            return candidate
    raise ValueError(
        f'{type(model).__name__} runs at no shape that {cfg.filename} tells. '
        'Give one as --input-shape. Tried:\n  ' + '\n  '.join(problems)
    )


def candidates(cfg: Config) -> Iterator[InputShape]:
    """Shapes that a config tells, the most reliable first."""
    channels = input_channels(cfg)
    for height, width, source in _sizes(cfg):
        yield InputShape((channels, height, width), source)


def input_channels(cfg: Config) -> int:
    """Channels of an image: as the first layer or the preprocessor says."""
    model = cfg.model
    for part in ('generator', 'backbone'):
        inner = model.get(part) or {}
        for key in ('in_channels', 'in_nc', 'img_channels'):
            if isinstance(inner.get(key), int):
                return inner[key]
    own = model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    mean = own.get('mean')
    return len(mean) if isinstance(mean, (list, tuple)) and mean else 3


def is_detector(model: Mapping[str, Any]) -> bool:
    """Whether a model's config has a head of MMDetection."""
    return any(key in model for key in ('bbox_head', 'rpn_head', 'roi_head'))


def _sizes(cfg: Config) -> Iterator[tuple[int, int, str]]:
    fixed = (cfg.model.get('backbone') or {}).get('img_size')
    for height, width in _pair(fixed):
        yield height, width, 'img_size of the backbone'
    if is_detector(cfg.model):
        yield from _detection_sizes(cfg)
    elif cfg.model.get('generator'):
        yield from _restoration_sizes(cfg)
    else:
        yield from _image_sizes(cfg)


def _detection_sizes(cfg: Config) -> Iterator[tuple[int, int, str]]:
    """MACs are proportional to the area where the size may vary."""
    for transform in reversed(pipeline(cfg, 'test')):
        if kind(transform) == 'Resize' and not transform.get('keep_ratio'):
            for width, height in _pairs(transform):
                yield height, width, 'Resize of the test pipeline'
    for size in DETECTION_SIZES:
        yield size, size, 'any size will do: its MACs go with the area'


def _restoration_sizes(cfg: Config) -> Iterator[tuple[int, int, str]]:
    """The crops that it is trained on; they are of the larger image."""
    train = pipeline(cfg, 'train')
    scale = _upscale(cfg, train)
    for transform in reversed(train):
        if 'Crop' in kind(transform):
            source = f'{kind(transform)} of the train pipeline'
            if kind(transform) == 'PairedRandomCrop' and scale > 1:
                source += f', ÷ {scale}'
            else:
                scale = 1
            for height, width in _pairs(transform):
                yield height // scale, width // scale, source
    yield 64, 64, 'no crop in the train pipeline: any size'


def _upscale(cfg: Config, train: Sequence[Mapping[str, Any]]) -> int:
    generator = cfg.model.generator
    found = generator.get('upscale_factor') or generator.get('scale')
    for transform in train:
        if kind(transform) == 'SetValues':
            found = found or (transform.get('dictionary') or {}).get('scale')
    return found if isinstance(found, int) else 1


def _image_sizes(cfg: Config) -> Iterator[tuple[int, int, str]]:
    """What a classifier is tested on, then what it is trained on."""
    for name in ('test', 'train'):
        for transform in reversed(pipeline(cfg, name)):
            title = kind(transform)
            whole = title == 'Resize' and not transform.get('keep_ratio')
            if 'Crop' in title or whole:
                for height, width in _pairs(transform):
                    yield height, width, f'{title} of the {name} pipeline'
    data = kind(_innermost(cfg, 'train') or {})
    for prefix, size in DATA_SIZES.items():
        if data.startswith(prefix):
            yield size, size, f'images of {data}'


def pipeline(cfg: Config, name: str) -> list[Mapping[str, Any]]:
    """Transforms of a data loader of a config, in order."""
    names = {'test': ('test', 'val')}.get(name, (name,))
    for known in names:
        found = (_innermost(cfg, known) or {}).get('pipeline')
        if found:
            return [t for t in found if isinstance(t, Mapping)]
    return []


def _innermost(cfg: Config, name: str) -> Optional[Mapping[str, Any]]:
    """The data set of a loader, out of those that wrap it."""
    loader = cfg.get(f'{name}_dataloader')
    loader = loader[0] if isinstance(loader, (list, tuple)) else loader
    data = (loader or {}).get('dataset')
    while isinstance(data, Mapping) and not data.get('pipeline'):
        inner = data.get('dataset') or data.get('datasets')
        if not inner:
            break
        data = inner[0] if isinstance(inner, (list, tuple)) else inner
    return data


def kind(entry: Mapping[str, Any]) -> str:
    """Name of a type, without its scope."""
    found = entry.get('type')
    return getattr(found, '__name__', str(found)).rpartition('.')[2]


def _pairs(transform: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    for key in SIZE_KEYS:
        yield from _pair(transform.get(key))


def _pair(size: Any) -> Iterator[tuple[int, int]]:
    """A size in pixels as two numbers; nothing if it is not one."""
    if isinstance(size, int) and not isinstance(size, bool):
        size = (size, size)
    if isinstance(size, (tuple, list)) and len(size) == 2:
        if all(isinstance(n, int) and 1 < n <= _LARGEST for n in size):
            yield size[0], size[1]
