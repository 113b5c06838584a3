"""Every config loads, builds its model and, with a pruner, is traced."""

from pathlib import Path

import pytest
import torch

import mmdhp
from mmdhp.engine import PruningOptimWrapperConstructor

mmengine = pytest.importorskip('mmengine')
pytest.importorskip('mmpretrain')
pytest.importorskip('mmagic')
pytest.importorskip('mmdet')

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)


def build(path):
    config = mmengine.Config.fromfile(path)
    with mmengine.DefaultScope.overwrite_default_scope(config.default_scope):
        mmengine.registry.init_default_scope(config.default_scope)
        return config, mmengine.registry.MODELS.build(config.model)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_config_builds_its_model(path):
    config, model = build(path)
    assert sum(p.numel() for p in model.parameters()) > 0
    assert config.train_cfg
    assert config.train_dataloader
    pruner = config.optim_wrapper.get('pruner')
    hooks = [hook.type for hook in config.get('custom_hooks') or []]
    assert ('mmdhp.PruningHook' in hooks) == (pruner is not None)


@pytest.mark.parametrize(
    'path',
    [path for path in CONFIGS if path.parent.name == 'dhp'],
    ids=lambda p: p.stem,
)
def test_pruning_config_attaches_and_selects(path):
    config, model = build(path)
    optim_wrapper = config.optim_wrapper.to_dict()
    assert optim_wrapper.pop('constructor').startswith('mmdhp.')
    wrapper = PruningOptimWrapperConstructor(optim_wrapper)(model)
    pruner = wrapper.pruner
    keep = pruner.select()
    ratio = pruner.cost(keep) / pruner.cost(pruner.graph.full())
    assert pruner.target.ratio - 0.05 < ratio <= pruner.target.ratio
    assert not pruner.graph.unused
    inputs = torch.rand(2, *pruner.input_shape)
    pruner.push()
    gap = mmdhp.verify(model, pruner.graph, keep, inputs, relative=True)
    assert gap <= 1e-4


def test_upsampler_of_the_paper_keeps_the_residual_channels():
    _, model = build(ROOT / 'configs' / 'dhp' / 'srresnet_dhp40.py')
    groups = [('generator.head.0', 'generator.upsampler.*')]
    image = torch.zeros(2, 3, 24, 24)
    tied = {g.name for g in mmdhp.trace(model, image, groups=groups).groups}
    apart = {g.name for g in mmdhp.trace(model, image).groups}
    assert apart - tied == {'generator.upsampler.0', 'generator.upsampler.3'}
