"""Every classification config lives a whole life, in small."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm
from toy import hook_of, new_name, weights

pytest.importorskip('mmpretrain')

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SIZE = 48  # of what was 224 pixels
# Start of a config's name -> smaller backbone of the same kind, its features.
NETWORKS = {
    'resnet20_': ({'depth': 8}, 64),
    'resnet56_': ({'depth': 14}, 64),
    'resnet110_': ({'depth': 14}, 64),
    'resnet164_': ({'depth': 65, 'width': 0.5}, 128),
    'densenet40_': ({'depth': 16}, 168),
    'mobilenetv1_': ({'widen_factor': 0.25}, 256),
    'mobilenetv2_': ({'widen_factor': 0.25}, 1280),
    'resnet18_': ({'stem_channels': 16, 'base_channels': 16}, 128),
    'resnet50_': ({'stem_channels': 16, 'base_channels': 16}, 512),
    'regnetx_4gf_': ({'arch': 'regnetx_400mf'}, 384),
}
NAMES = [
    f'{method}/{path.stem}'
    for method in ('dhp', 'oneshot')
    for path in sorted((CONFIGS / method).glob('*.py'))
    if path.stem.startswith(tuple(NETWORKS))
]


@DATASETS.register_module(force=True)
class Photos(BaseDataset):
    """The images of a folder, also decoded, with labels 0, 1, ..."""

    METAINFO = {'classes': [str(i) for i in range(8)]}

    def load_data_list(self):
        return [
            {
                'img_path': str(path),
                'img': np.asarray(Image.open(path).convert('RGB')),
                'gt_label': label,
            }
            for label, path in enumerate(
                sorted(Path(self.data_root).iterdir())
            )
        ]


@pytest.fixture
def photos(tmp_path):
    """Folder of eight JPEGs, one of them gray."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(8):
        shape = (64, 64) if i == 3 else (64, 64, 3)
        pixels = draw.integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{i}.JPEG')
    return folder


def small(step):
    """A step of a pipeline, for images of SIZE pixels."""
    changed = dict(step)
    for key, value in step.items():
        if key in ('scale', 'crop_size') and value > 64:
            changed[key] = SIZE
    return changed


def load(name, photos, work_dir):
    """A config with small data, network and length, otherwise untouched."""
    cfg = Config.fromfile(str(CONFIGS / f'{name}.py'))
    backbone, features = next(
        small
        for start, small in NETWORKS.items()
        if name.partition('/')[2].startswith(start)
    )
    cfg.model.backbone.update(backbone)
    cfg.model.head.in_channels = features
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        loader.dataset = {
            'type': 'Photos',
            'data_root': str(photos),
            'pipeline': [small(step) for step in loader.dataset.pipeline],
        }
    channels, *size = cfg.optim_wrapper.pruner.input_shape
    cfg.optim_wrapper.pruner.update(
        input_shape=(channels, *(min(length, SIZE) for length in size)),
        min_channels=2,
    )
    cfg.train_cfg.max_epochs = 1
    if name.startswith('dhp'):
        cfg.optim_wrapper.pruner.embedding_dim = 1
        (hook,) = cfg.custom_hooks
        hook.search = dict(hook.get('search', {}), max_epochs=1)
    cfg.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'experiment_name': new_name(),
            'log_level': 'ERROR',
            'randomness': {'seed': 0},
        }
    )
    return cfg


def trained(cfg, folder):
    """A checkpoint of a network that has seen images."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_()
    path = folder / 'trained.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return str(path)


@pytest.mark.parametrize('name', NAMES)
def test_a_network_is_pruned_tuned_and_exported(name, photos, tmp_path):
    cfg = load(name, photos, tmp_path / 'run')
    if cfg.get('load_from'):
        cfg.load_from = trained(cfg, tmp_path)
    target = cfg.optim_wrapper.pruner.target.macs
    runner = Runner.from_cfg(cfg)
    keys = list(weights(runner))
    runner.train()

    assert runner.iter == (4 if name.startswith('dhp') else 2)
    assert hook_of(runner, 'PruningHook').state == 'fine_tune'
    assert list(weights(runner)) == keys
    assert all(torch.isfinite(v).all() for v in weights(runner).values())
    folder = tmp_path / 'run/pruned'
    found = json.loads((folder / 'channels.json').read_text())
    assert target - 0.05 < found['macs']['ratio'] <= target
    assert found['params']['pruned'] == sum(
        p.numel() for p in runner.model.parameters()
    )

    exported = Config.fromfile(str(folder / 'pruned_config.py'))
    exported.work_dir = str(tmp_path / 'test')
    exported.load_from = str(folder / 'pruned.pth')
    exported.experiment_name = new_name()
    metrics = Runner.from_cfg(exported).test()
    assert metrics == pytest.approx(found['metrics'], abs=1e-6)
