"""Configs of the restoration networks live a whole life on tiny images."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from PIL import Image
from toy import hook_of, new_name, weights

import mmdhp  # noqa: F401, lets MMagic import
from mmdhp.datasets import imresize
from mmdhp.engine import PruningOptimWrapperConstructor

pytest.importorskip('mmagic')

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/dhp'
SIZE = 48
# Config -> smaller network of the same kind, and its input.
NETWORKS = {
    'dncnn_dhp40': ({'num_blocks': 2, 'mid_channels': 16}, (1, 24, 24)),
    'unet_dhp20': ({'num_levels': 3, 'base_channels': 16}, (1, 24, 24)),
    'edsr_dhp60': ({'num_blocks': 2, 'mid_channels': 16}, (3, 6, 6)),
}
# Parts that the data loaders and evaluators were made from.
UNUSED = (
    'set5_',
    'set14_',
    'b100_',
    'urban100_',
    'div2k_',
    'bsd68_',
    'set12_',
)


class Listener(Hook):
    """Keeps what a test measured."""

    def after_test_epoch(self, runner, metrics=None):
        self.metrics = metrics


TEST_WITHOUT_MMDHP = """
import sys
sys.modules['mmdhp'] = None
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
cfg = Config.fromfile(sys.argv[1] + '/pruned_config.py')
cfg.work_dir = sys.argv[2]
cfg.load_from = sys.argv[1] + '/pruned.pth'
Runner.from_cfg(cfg).test()
"""


@pytest.fixture(autouse=True)
def _plain_configs(monkeypatch):
    """Dump configs as they are: to format them takes most of the time."""
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )


@pytest.fixture
def photos(tmp_path):
    """Six images, one of them gray, one odd in size, and a quarter of each."""
    draw = np.random.default_rng(0)
    for folder in ('HR', 'LR'):
        (tmp_path / 'photos' / folder).mkdir(parents=True)
    for i in range(6):
        shape = (SIZE, SIZE + 4 * (i == 2)) + (() if i == 3 else (3,))
        pixels = draw.integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'photos/HR/{i}.png')
        small = Image.fromarray(imresize(pixels, 1 / 4))
        small.save(tmp_path / f'photos/LR/{i}.png')
    return tmp_path / 'photos'


def small(step):
    """A step of a pipeline, for patches of 24 pixels."""
    changed = dict(step)
    if 'crop_size' in step:
        changed['crop_size'] = (24, 24)
    if 'gt_patch_size' in step:
        changed['gt_patch_size'] = 24
    return changed


def load(name, photos, work_dir):
    """A config with small data, network and length, otherwise untouched."""
    cfg = Config.fromfile(str(CONFIGS / f'{name}.py'))
    generator, input_shape = NETWORKS[name]
    cfg.model.generator.update(generator)
    paired = name.startswith('edsr')
    cfg.test_dataloader = cfg.test_dataloader[:2]
    cfg.test_evaluator = cfg.test_evaluator[:2]
    loaders = [cfg.train_dataloader, cfg.val_dataloader, *cfg.test_dataloader]
    for loader in loaders:
        loader.update(num_workers=0, persistent_workers=False)
        loader['dataset'] = dict(
            type='mmdhp.ImageFolder',
            data_root=str(photos),
            data_prefix=dict(gt='HR', img='LR') if paired else dict(gt='HR'),
            pipeline=[small(step) for step in loader['dataset']['pipeline']],
        )
    for key in list(cfg):  # MMEngine formats the config at every checkpoint
        if key.startswith(UNUSED):
            cfg.pop(key)
    cfg.train_dataloader.batch_size = 4
    cfg.optim_wrapper.pruner.update(
        input_shape=input_shape, embedding_dim=1, min_channels=2
    )
    cfg.train_cfg.update(max_iters=4, val_interval=4)
    cfg.custom_hooks[0].search.max_iters = 2
    cfg.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'experiment_name': new_name(),
            'default_hooks.checkpoint.out_dir': None,
            'default_hooks.checkpoint.save_best': None,
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

    assert runner.iter == 6
    assert hook_of(runner, 'PruningHook').state == 'fine_tune'
    assert list(weights(runner)) == keys
    assert all(torch.isfinite(v).all() for v in weights(runner).values())
    folder = tmp_path / 'run/pruned'
    found = json.loads((folder / 'channels.json').read_text())
    assert target - 0.1 < found['macs']['ratio'] <= target
    assert found['metrics']['PSNR'] > 0
    prefix = 'Set5' if name.startswith('edsr') else 'BSD68'
    test = measures_without_mmdhp if name.startswith('dncnn') else measures_of
    measured = test(folder, tmp_path / 'test')
    for kind in ('PSNR', 'SSIM'):
        assert measured[f'{prefix}/{kind}'] == pytest.approx(
            found['metrics'][kind], abs=1e-4
        )


def measures_of(folder, work_dir):
    """Measures of an exported model."""
    exported = Config.fromfile(str(folder / 'pruned_config.py'))
    exported.work_dir = str(work_dir)
    exported.load_from = str(folder / 'pruned.pth')
    exported.experiment_name = new_name()
    tester = Runner.from_cfg(exported)
    listener = Listener()
    tester.register_hook(listener)
    tester.test()
    return listener.metrics


def measures_without_mmdhp(folder, work_dir):
    """The same, in a process where mmdhp cannot be imported."""
    done = subprocess.run(
        [sys.executable, '-c', TEST_WITHOUT_MMDHP, folder, work_dir],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (log,) = work_dir.glob('*/*.json')
    return json.loads(log.read_text().splitlines()[-1])


def test_every_latent_of_edsr_learns_in_search(photos, tmp_path):
    cfg = load('edsr_dhp60', photos, tmp_path)
    init_default_scope('mmagic')
    model = MODELS.build(cfg.model)
    optim_wrapper = cfg.optim_wrapper.to_dict()
    optim_wrapper.pop('constructor')
    pruner = PruningOptimWrapperConstructor(optim_wrapper)(model).pruner
    pruner.push()

    model(torch.rand(2, 3, 6, 7)).square().mean().backward()
    pruner.pull()

    gradient = pruner.program.latent.grad[: pruner.graph.num_units]
    assert len(gradient) == 16 * (1 + 2)  # one stage and two blocks
    assert gradient.all()
