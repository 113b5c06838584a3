"""Which architectures the libraries hold, and how to build and call each."""

import copy
import glob
import importlib
import logging
import os.path as osp
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable

from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch import nn

from mmdhp.graph import call_model

from .entry import BATCH, Entry, Forward, Shapes, images
from .torchvision_models import torchvision_entries

_SIZES = (64, 224, 256, 384)
_WEIGHTS = re.compile(r'^init_cfg$|pretrained(_cfg)?$|_ckpt$')


def entries_of(library: str) -> list[Entry]:
    """All architectures of a library, one per type and variant, by name.

    Raises:
        ImportError: If the library, or what it needs, is not installed.
    """
    found: dict[str, Entry] = {}
    for entry in LIBRARIES[library]():
        found.setdefault(entry.name, entry)
    return sorted(found.values(), key=_alphabetically)


def _alphabetically(entry: Entry) -> list[Any]:
    """Letters without case, numbers by value."""
    parts = re.split(r'(\d+)', f'{entry.model} {entry.arch}'.lower())
    return [int(part) if part.isdigit() else part for part in parts]


# ------------------------------------------------------------------ OpenMMLab
def configs_of(library: str) -> Iterator[tuple[str, Config]]:
    """Configs with a model that a library ships; short names first.

    Of several with one architecture, the first is the plainest.
    """
    root = osp.dirname(importlib.import_module(library).__file__ or '')
    pattern = osp.join(root, '.mim', 'configs', '[!_]*', '*.py')
    for path in sorted(glob.glob(pattern), key=lambda p: (len(p), p)):
        try:
            config = Config.fromfile(path)
        except Exception as error:  # configs of a release can be broken
            logging.getLogger(__name__).info('%s: %s', path, error)
            continue
        if isinstance(config.get('model'), dict):
            yield osp.relpath(path, osp.dirname(osp.dirname(path))), config


def bare(config: Any) -> Any:
    """A copy of a config with no weights to load."""
    if isinstance(config, Mapping):
        kept = {
            key: bare(value)
            for key, value in config.items()
            if not _WEIGHTS.search(str(key))
        }
        return ConfigDict(kept)
    if isinstance(config, (list, tuple)):
        return type(config)(map(bare, config))
    return copy.deepcopy(config)


def builder(library: str, config: Mapping[str, Any]) -> Callable:
    """Build a network of a config by the registry of a library."""

    def build() -> nn.Module:
        init_default_scope(library)
        registry = importlib.import_module(f'{library}.registry').MODELS
        model = registry.build(bare(config))
        return revert_sync_batchnorm(model)

    return build


def variant(config: Mapping[str, Any], keys: Iterable[str]) -> str:
    """What tells two networks of one type apart."""
    values = [config[key] for key in keys if config.get(key) is not None]
    values = ['custom' if isinstance(v, Mapping) else v for v in values]
    return '-'.join(map(str, values))


# ----------------------------------------------------------------- MMPretrain
_ARCH = ('arch', 'depth', 'num_layers')
_VISION = ('backbone', 'vision_backbone', 'vision_encoder', 'visual_encoder')


def mmpretrain_entries() -> Iterator[Entry]:
    """Classifiers as a whole; of other models the vision backbone."""
    importlib.import_module('mmpretrain.models')
    later = []
    for _, config in configs_of('mmpretrain'):
        model = config.model
        if model.get('type') == 'ImageClassifier':
            yield _mmpretrain_entry(model.backbone, model)
            continue
        nets = [model[key] for key in _VISION if key in model]
        later += [
            _mmpretrain_entry(net, net)
            for net in nets
            if isinstance(net, Mapping) and 'type' in net
        ]
    yield from later


def _mmpretrain_entry(backbone: Any, network: Any) -> Entry:
    arch = variant(backbone, _ARCH)
    if 'arch' not in backbone:
        arch = '-'.join(
            filter(None, [arch, variant(backbone, ['embed_dims'])])
        )
    own = backbone.get('img_size')
    own = own[0] if isinstance(own, (list, tuple)) else own
    sizes = dict.fromkeys([64, own, *_SIZES] if own else _SIZES)
    channels = backbone.get('in_channels', 3)
    shapes = images(*sizes, channels=channels) + images(32, channels=1)
    name = str(backbone['type']).rpartition('.')[2]
    return Entry(
        'mmpretrain', name, arch, builder('mmpretrain', network), shapes
    )


# --------------------------------------------------------------------- MMagic
_EDITORS = ('generator', 'backbone', 'encdec', 'unet', 'refiner')
_VARIANTS = (
    'upscale_factor',
    'scale',
    'out_size',
    'output_scale',
    'image_size',
)
_NOISE = (100, 120, 128, 256, 512, 1024)


def mmagic_entries() -> Iterator[Entry]:
    """The networks that make images, video frames or mattes."""
    importlib.import_module('mmagic.models')
    for _, config in configs_of('mmagic'):
        for key in _EDITORS:
            network = config.model.get(key)
            if not isinstance(network, Mapping) or 'type' not in network:
                continue
            if 'num_classes' in config.model:  # MMagic hands it down, too
                classes = config.model.num_classes
                network = {'num_classes': classes, **network}
            yield _mmagic_entry(network)


def _mmagic_entry(network: Mapping[str, Any]) -> Entry:
    parts = [
        network[key]['type']
        for key in ('encoder', 'decoder')
        if isinstance(network.get(key), Mapping)
    ]
    name = str(network['type']).rpartition('.')[2]
    shapes, forward = _CALLS.get(name, (_editing_shapes(network), None))
    return Entry(
        'mmagic',
        name,
        '-'.join(filter(None, [*parts, variant(network, _VARIANTS)])),
        builder('mmagic', network),
        shapes,
        forward,
    )


def _editing_shapes(network: Mapping[str, Any]) -> list[Shapes]:
    """Images, masked images, frames, noise, images at a time step."""
    shapes = []
    for size in (64, 256, 16):
        for channels in (3, 4, 5, 6, 1):
            shapes += images(size, channels=channels)
        image = (BATCH, 3, size, size)
        matte = (BATCH, 1, size, size)
        shapes += [(image, image), (image, (BATCH,))]
        shapes += [((BATCH, 4, size, size), matte)]
        shapes += [
            ((BATCH, frames, 3, size, size),) for frames in (2, 3, 4, 5, 7)
        ]
    points = (BATCH, 48, 2)
    shapes.append(((BATCH, 3, 64, 64), points, points))
    own = [network.get(key) for key in ('noise_size', 'style_channels')]
    for width in filter(None, [*own, *_NOISE]):
        shapes += [((BATCH, width),), ((BATCH, width), (BATCH,))]
    return shapes


def _with_textures(model: nn.Module, inputs: Any) -> Any:
    """TTSR takes what its transformer found at three scales as a list."""
    image, attention, *textures = inputs
    return model(image, attention, textures)


def _with_label(model: nn.Module, inputs: Any) -> Any:
    """Generators that do not take the label behind the noise."""
    noise, label = inputs
    return model(noise, label=label)


_LABELLED = [((BATCH, width), (BATCH,)) for width in _NOISE]

# Networks whose calls follow no pattern.
_CALLS: dict[str, tuple[Sequence[Shapes], Forward]] = {
    'TTSRNet': (
        [
            (
                (BATCH, 3, 16, 16),
                (BATCH, 1, 16, 16),
                (BATCH, 256, 16, 16),
                (BATCH, 128, 32, 32),
                (BATCH, 64, 64, 64),
            )
        ],
        _with_textures,
    ),
    'DICNet': (images(16), call_model),
    'SAGANGenerator': (_LABELLED, _with_label),
    'SNGANGenerator': (_LABELLED, _with_label),
}


# ---------------------------------------------------------------- MMDetection
_PROPOSALS = 16  # a small image's share of the usual thousand


def mmdet_entries() -> Iterator[Entry]:
    """One detector per type: of its configs the plainest."""
    importlib.import_module('mmdet.models')
    found: dict[str, Entry] = {}
    for _, config in sorted(configs_of('mmdet'), key=_plainness):
        model = config.model
        if 'backbone' not in model:  # a tracker around a detector
            continue
        if (model.get('test_cfg') or {}).get('rpn'):
            model.test_cfg.rpn.max_per_img = _PROPOSALS
        kind = str(model.get('type')).rpartition('.')[2]
        arch = variant(model.backbone, ('type', *_ARCH))
        arch = arch.rpartition('.')[2]
        build = builder('mmdet', model)
        shapes = [*images(64, 128, 320, 640), ((BATCH, 3, 256, 128),)]
        shapes.append(((BATCH, 2, 3, 64, 64),))  # frames
        entry = Entry('mmdet', kind, arch, build, shapes, detector_forward)
        found.setdefault(kind, entry)
    yield from found.values()


def _plainness(found: tuple[str, Config]) -> tuple[bool, bool, int]:
    """Whether a folder has another subject, a file another depth."""
    folder, name = osp.split(found[0])
    kind = str(found[1].model.get('type')).rpartition('.')[2].lower()
    own = re.sub(r'\W|_', '', folder) == kind
    return (not own, 'r50' not in name, len(name))


def detector_forward(model: nn.Module, inputs: Any) -> Any:
    """Run a detector from images to the raw outputs of its heads."""
    (batch,) = inputs
    engine = importlib.import_module('mmdhp.models.model_forward')
    return engine.run_model(model, batch)


LIBRARIES: dict[str, Callable[[], Iterator[Entry]]] = {
    'mmpretrain': mmpretrain_entries,
    'mmagic': mmagic_entries,
    'mmdet': mmdet_entries,
    'torchvision': torchvision_entries,
}
