"""Unmodified configs of MMagic and MMPretrain, pruned by ten lines."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from PIL import Image
from toy import hook_of, new_name, weights

from mmdhp import compat
from mmdhp.release.summary import plain_numbers

compat.install()

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/dhp'
NAMES = ['msrresnet_dhp50', 'edsr_mmagic_dhp50', 'resnet18_cifar10_dhp50']
SEARCH = FINE_TUNE = 3


@pytest.fixture
def pairs(tmp_path):
    """Folder with three pairs of small images."""
    draw = np.random.default_rng(0)
    for folder, size in (('LR', (12, 14)), ('HR', (48, 56))):
        (tmp_path / folder).mkdir()
        for i in range(3):
            pixels = draw.integers(0, 255, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f'{i}.png')
    return tmp_path


@DATASETS.register_module(force=True)
class RandomImages(BaseDataset):
    """Eight images of CIFAR's size."""

    METAINFO = {'classes': [str(i) for i in range(10)]}

    def load_data_list(self):
        draw = np.random.default_rng(0)
        return [
            {
                'img': draw.integers(0, 255, (32, 32, 3), dtype=np.uint8),
                'gt_label': i % 10,
            }
            for i in range(8)
        ]


def small_super_resolution(cfg, folder):
    """Override data, length and size only, in place."""
    data = {
        'ann_file': '',
        'data_root': str(folder),
        'data_prefix': {'img': 'LR', 'gt': 'HR'},
        'filename_tmpl': {'img': '{}', 'gt': '{}'},
    }
    for key in ('train_dataloader', 'val_dataloader'):
        cfg[key].update(num_workers=0, persistent_workers=False)
        cfg[key].dataset.update(data)
    cfg.train_dataloader.batch_size = 2
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'PairedRandomCrop':
            step.gt_patch_size = 32
    cfg.train_cfg.update(max_iters=FINE_TUNE, val_interval=FINE_TUNE)
    cfg.model.generator.update(num_blocks=2, mid_channels=16)
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg[key] = cfg[key.replace('test', 'val')]
    cfg.test_cfg = {'type': 'MultiTestLoop'}
    cfg.optim_wrapper.pruner.input_shape = (3, 8, 10)
    cfg.custom_hooks[-1].search = {'max_iters': SEARCH}


def small_classification(cfg):
    """Override data, length and width only, in place."""
    cfg.model.backbone.update(stem_channels=16, base_channels=16)
    cfg.model.head.in_channels = 128
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[key].update(num_workers=0, persistent_workers=False, batch_size=4)
        cfg[key].dataset = {
            'type': 'RandomImages',
            'pipeline': cfg[key].dataset.pipeline,
        }
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler.milestones = [1]
    cfg.custom_hooks[-1].search = {'max_epochs': 1}


def load(name, folder, work_dir):
    cfg = Config.fromfile(str(CONFIGS / f'{name}.py'))
    if cfg.default_scope == 'mmagic':
        small_super_resolution(cfg, folder)
    else:
        small_classification(cfg)
    cfg.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'experiment_name': new_name(),
            'log_level': 'ERROR',
            'randomness': {'seed': 0},
        }
    )
    cfg.default_hooks.checkpoint.pop('out_dir', None)
    return cfg


class KeepMetrics(Hook):
    """Remembers what a test has measured."""

    def after_test_epoch(self, runner, metrics=None):
        self.metrics = metrics


@pytest.mark.parametrize('name', NAMES)
def test_ten_lines_or_fewer(name):
    lines = (CONFIGS / f'{name}.py').read_text().splitlines()

    assert 0 < len([line for line in lines if line.strip()]) <= 10


@pytest.mark.parametrize('name', NAMES)
def test_an_upstream_config_is_pruned(name, pairs, tmp_path):
    pytest.importorskip('mmpretrain' if 'cifar' in name else 'mmagic')
    cfg = load(name, pairs, tmp_path / 'run')
    runner = Runner.from_cfg(cfg)
    before = weights(runner)
    kind, keys = type(runner.model), list(before)
    runner.train()

    assert type(runner.model) is kind
    assert list(weights(runner)) == keys
    folder = tmp_path / 'run/pruned'
    found = json.loads((folder / 'channels.json').read_text())
    assert 0.35 < found['macs']['ratio'] <= 0.5
    assert any(group['kept'] < group['total'] for group in found['groups'])
    assert found['params']['pruned'] == sum(
        p.numel() for p in runner.model.parameters()
    )
    assert all(torch.isfinite(v).all() for v in weights(runner).values())
    assert len(runner.param_schedulers) == 1
    assert hook_of(runner, 'PruningHook').state == 'fine_tune'

    exported = Config.fromfile(str(folder / 'pruned_config.py'))
    exported.work_dir = str(tmp_path / 'test')
    exported.load_from = str(folder / 'pruned.pth')
    exported.experiment_name = new_name()
    tester = Runner.from_cfg(exported)
    tester.register_hook(KeepMetrics())
    tester.test()  # MMagic's loop returns nothing
    assert found['metrics']
    metrics = plain_numbers(hook_of(tester, 'KeepMetrics').metrics)
    assert metrics == pytest.approx(found['metrics'], rel=1e-5, abs=1e-6)
