"""Every config loads, builds its model and, with a pruner, is traced."""

import re
from pathlib import Path

import pytest
import torch
import yaml

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
METHODS = ('dhp', 'hsn', 'lwdna', 'oneshot')  # one folder each
PRUNING = [path for path in CONFIGS if path.parent.name in METHODS]
METAFILES = sorted((ROOT / 'configs').rglob('metafile.yml'))


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


@pytest.mark.parametrize('path', PRUNING, ids=lambda p: p.stem)
def test_pruning_config_attaches_and_selects(path):
    config, model = build(path)
    optim_wrapper = config.optim_wrapper.to_dict()
    assert optim_wrapper.pop('constructor').startswith('mmdhp.')
    if optim_wrapper['pruner']['type'] in ('mmdhp.DHP', 'mmdhp.LWDNA'):
        optim_wrapper['pruner']['embedding_dim'] = 1  # a tenth of the memory
    paramwise = optim_wrapper.pop('paramwise_cfg', None)
    wrapper = PruningOptimWrapperConstructor(optim_wrapper, paramwise)(model)
    pruner = wrapper.pruner
    keep = pruner.select()
    gap = pruner.target.ratio - pruner.cost(keep) / pruner.goal.first.full
    assert 0 <= gap <= (0.001 if pruner.fills_budget else 0.05)
    assert not pruner.graph.unused
    channels, *size = pruner.input_shape
    inputs = torch.rand(2, channels, *(min(length, 64) for length in size))
    pruner.push()
    gap = mmdhp.verify(model, pruner.graph, keep, inputs, relative=True)
    assert gap <= 1e-4


@pytest.mark.parametrize(
    'path',
    [path for path in PRUNING if path.parent.name != 'lwdna'],
    ids=lambda p: p.stem,
)
def test_name_says_the_target(path):
    target = mmengine.Config.fromfile(path).optim_wrapper.pruner.target
    percent = re.search(rf'_{path.parent.name}(\d+)(_|$)', path.stem).group(1)
    assert target == {'macs': int(percent) / 100}


@pytest.mark.parametrize('path', METAFILES, ids=lambda p: p.parent.name)
def test_metafile_lists_its_configs(path):
    content = yaml.safe_load(path.read_text())
    collections = {entry['Name'] for entry in content['Collections']}
    models = content['Models']
    assert {entry['In Collection'] for entry in models} == collections
    assert {entry['Name']: ROOT / entry['Config'] for entry in models} == {
        config.stem: config for config in path.parent.glob('*.py')
    }


@pytest.mark.parametrize('path', METAFILES, ids=lambda p: p.parent.name)
def test_metafile_has_the_sizes_of_the_networks(path):
    for entry in yaml.safe_load(path.read_text())['Models']:
        parameters = entry['Metadata'].get('Parameters')
        if parameters is not None:
            _, model = build(ROOT / entry['Config'])
            found = sum(p.numel() for p in model.parameters())
            assert (entry['Name'], found) == (entry['Name'], parameters)


@pytest.mark.parametrize('path', METAFILES, ids=lambda p: p.parent.name)
def test_readme_names_its_configs(path):
    text = path.with_name('README.md').read_text()
    named = set(re.findall(r'\]\((\w+\.py)\)', text))
    assert named == {config.name for config in path.parent.glob('*.py')}


def test_upsampler_of_the_paper_keeps_the_residual_channels():
    _, model = build(ROOT / 'configs' / 'dhp' / 'srresnet_dhp40.py')
    groups = [('generator.head.0', 'generator.upsampler.*')]
    image = torch.zeros(2, 3, 24, 24)
    tied = {g.name for g in mmdhp.trace(model, image, groups=groups).groups}
    apart = {g.name for g in mmdhp.trace(model, image).groups}
    assert apart - tied == {'generator.upsampler.0', 'generator.upsampler.3'}


# Li et al., DHP: prunable latent vectors, MACs of a 128x128 input in G.
# Their code counts UNet's four transposed convs (2x2, stride 2) at each output
# pixel, and not all activations of the baselines.
@pytest.mark.parametrize(
    ('name', 'vectors', 'giga_macs', 'transposed'),
    [
        ('srresnet', 17, 32.826720, 0),
        ('edsr', 9, 90.370884, 0),
        ('dncnn', 16, 9.126806, 0),
        ('unet', 22, 3.415015, 4 * 128**2 * 32 * 64),
    ],
)
def test_restoration_networks_are_the_papers(
    name, vectors, giga_macs, transposed
):
    config, model = build(ROOT / 'configs/dhp' / f'{name}_dhp40.py')
    pruner = config.optim_wrapper.pruner
    image = torch.zeros(2, pruner.input_shape[0], 128, 128)
    graph = mmdhp.trace(model, image, groups=pruner.get('groups', ()))
    excluded = set(pruner.get('exclude', ()))
    names = {group.name for group in graph.groups} - excluded
    assert len(names) == vectors
    macs = int(graph.macs(kinds=pruner.kinds)) + 3 * transposed
    assert round(macs / 1e9, 6) == pytest.approx(giga_macs, abs=1e-6)
