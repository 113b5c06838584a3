"""One config of every classification network lives a whole life."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from PIL import Image
from toy import hook_of, new_name, weights

pytest.importorskip('mmpretrain')

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/dhp'
SIZE = 48  # of what was 224 pixels
# Config -> smaller backbone of the same kind, and its features.
NETWORKS = {
    'resnet20_dhp50': ({'depth': 14}, 64),
    'resnet164_dhp20': ({'depth': 65, 'width': 0.5}, 128),
    'densenet40_dhp28': ({'depth': 16}, 168),
    'mobilenetv1_dhp30': ({'widen_factor': 0.25}, 256),
    'mobilenetv2_w2_dhp24': ({'widen_factor': 0.25}, 1280),
    'resnet50_dhp50': ({'stem_channels': 16, 'base_channels': 16}, 512),
    'mobilenetv2_imagenet_dhp50': ({'widen_factor': 0.25}, 1280),
    'regnetx_4gf_dhp50': ({'arch': 'regnetx_400mf'}, 384),
}


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
    backbone, features = NETWORKS[name]
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
        embedding_dim=1,
        min_channels=2,
    )
    cfg.train_cfg.max_epochs = 1
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


@pytest.mark.parametrize('name', NETWORKS)
def test_a_network_is_searched_tuned_and_exported(name, photos, tmp_path):
    cfg = load(name, photos, tmp_path / 'run')
    target = cfg.optim_wrapper.pruner.target.macs
    runner = Runner.from_cfg(cfg)
    keys = list(weights(runner))
    runner.train()

    assert runner.iter == 4
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
