"""The exported folder stands alone; mmdhp.Pruned loads any width."""

import copy
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from toy import (
    SHAPE,
    ToyNet,
    channels,
    config,
    hook_of,
    new_name,
    same,
    train,
    weights,
)

import mmdhp
from mmdhp import compat
from mmdhp.release import loader_package
from mmdhp.release.folder import check_exportable
from mmdhp.release.loader_package import package_sources
from mmdhp.release.plain_config import config_text

compat.install()

TESTS = Path(__file__).resolve().parents[1]
KEYS = {
    'format_version',
    'memory',
    'method',
    'target',
    'macs',
    'macs_kinds',
    'params',
    'input_shape',
    'metrics',
    'versions',
    'groups',
    'shapes',
    'attributes',
}

# Builds an exported model where mmdhp cannot be imported; saves its outputs.
ALONE = """
import sys
sys.modules['mmdhp'] = None
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope

folder, shape, out = sys.argv[1], eval(sys.argv[2]), sys.argv[3]
cfg = Config.fromfile(f'{folder}/pruned_config.py')
init_default_scope(cfg.get('default_scope', 'mmengine'))
model = MODELS.build(cfg.model).eval()
checkpoint = torch.load(f'{folder}/pruned.pth', weights_only=True)
model.load_state_dict(checkpoint['state_dict'], strict=True)
torch.manual_seed(0)
with torch.no_grad():
    outputs = model(torch.rand(2, *shape))
outputs = outputs[0] if isinstance(outputs, tuple) else outputs
assert not [m for m in sys.modules if m.startswith('mmdhp.')]
torch.save(outputs, out)
"""


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A finished run whose own model comes by custom_imports."""
    cfg = config(tmp_path_factory.mktemp('run'))
    cfg.custom_imports = {'imports': ['mmdhp', 'toy', 'mmdhp.models']}
    return train(cfg)


def outputs_alone(folder, shape, tmp_path):
    """Outputs of an exported model in an interpreter without mmdhp."""
    out = tmp_path / 'outputs.pt'
    environment = {**os.environ, 'PYTHONPATH': str(TESTS)}
    subprocess.run(
        [
            sys.executable,
            '-c',
            textwrap.dedent(ALONE),
            str(folder),
            repr(tuple(shape)),
            str(out),
        ],
        env={**environment, 'OMP_NUM_THREADS': '1'},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    return torch.load(out)


def outputs_of(runner, shape):
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = runner.model.eval()(torch.rand(2, *shape))
    return outputs[0] if isinstance(outputs, tuple) else outputs


def test_a_moved_folder_works_without_mmdhp(finished, tmp_path):
    folder = tmp_path / 'moved here'
    Path(finished.work_dir, 'pruned').rename(folder)
    try:
        found = outputs_alone(folder, SHAPE, tmp_path)
    finally:
        folder.rename(Path(finished.work_dir, 'pruned'))

    assert torch.equal(found, outputs_of(finished, SHAPE))


def mmpretrain_model():
    pytest.importorskip('mmpretrain')
    model = {
        'type': 'ImageClassifier',
        'backbone': {'type': 'mmdhp.CIFARResNet', 'depth': 14},
        'neck': {'type': 'GlobalAveragePooling'},
        'head': {
            'type': 'LinearClsHead',
            'num_classes': 5,
            'in_channels': 64,
            'loss': {'type': 'CrossEntropyLoss'},
        },
    }
    return model, 'mmpretrain'


def mmagic_model():
    pytest.importorskip('mmagic')
    model = {
        'type': 'BaseEditModel',
        'generator': {
            'type': 'mmdhp.SRResNet',
            'mid_channels': 12,
            'num_blocks': 1,
        },
        'pixel_loss': {'type': 'L1Loss'},
        'data_preprocessor': {'type': 'DataPreprocessor'},
    }
    return model, 'mmagic'


@pytest.mark.parametrize('build', [mmpretrain_model, mmagic_model])
def test_networks_of_mmdhp_travel_along(build, tmp_path):
    model, scope = build()
    cfg = config(tmp_path / 'run', model=model, default_scope=scope)
    runner = Runner.from_cfg(cfg)
    hook = hook_of(runner, 'PruningHook')
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook.before_run(runner)
    hook.before_train(runner)
    hook._transition(runner)
    hook.export_model(runner)

    found = outputs_alone(tmp_path / 'run/pruned', SHAPE, tmp_path)

    assert torch.equal(found, outputs_of(runner, SHAPE))
    package = next((tmp_path / 'run/pruned').glob('pruned_architecture*'))
    assert (package / 'compat_mmagic.py').exists() == (scope == 'mmagic')


def test_own_imports_are_kept_and_those_of_mmdhp_are_not(finished):
    cfg = Config.fromfile(f'{finished.work_dir}/pruned/pruned_config.py')

    assert cfg.custom_imports.imports == ['pruned_architecture', 'toy']
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert set(cfg.optim_wrapper) == {'type', 'optimizer'}
    assert [hook.type for hook in cfg.custom_hooks] == ['Watch']
    assert cfg.train_cfg == finished.cfg.train_cfg
    assert cfg.param_scheduler == finished.cfg.param_scheduler


def test_weights_of_the_original_widths_are_not_asked_for(finished):
    cfg = copy.deepcopy(finished.cfg)
    pretrained = {'type': 'Pretrained', 'checkpoint': 'original.pth'}
    constant = {'type': 'Constant', 'val': 1}
    cfg.model.parts = [{'init_cfg': pretrained}, {'init_cfg': constant}]
    text = config_text(cfg, 'pruned_architecture')

    assert 'original.pth' not in text
    assert 'Constant' in text


@pytest.mark.parametrize(
    ('changes', 'installed'),
    [
        ({'default_scope': 'mmpretrain'}, []),
        ({'default_scope': 'mmagic'}, ['compat_mmagic', 'compat_mmcv']),
        ({'default_scope': 'mmdet'}, ['compat_mmcv', 'compat_mmdet']),
        ({'model': {'type': 'mmdet.FCOS'}}, ['compat_mmcv', 'compat_mmdet']),
        (
            {'custom_imports': {'imports': 'mmdet.models'}},
            ['compat_mmcv', 'compat_mmdet'],
        ),
    ],
)
def test_the_loader_lets_be_imported_what_the_config_needs(changes, installed):
    sources = package_sources(Config(changes))

    copied = [name for name in sources if name.startswith('compat_')]
    assert sorted(copied) == installed
    for name in installed:
        assert f'{name}.install()' in sources['__init__']
    assert ('import_hook' in sources) == bool(installed)


def test_channels_json(finished):
    found = channels(finished.work_dir)
    graph = hook_of(finished, 'PruningHook').pruner.graph

    assert found.keys() == KEYS
    assert found['format_version'] == 1
    assert 0 < found['memory']['ratio'] <= 1
    assert found['method'] == 'DHP'
    assert found['target'] == {'macs': 0.5}
    assert found['input_shape'] == list(SHAPE)
    assert found['macs_kinds'] == ['weight']
    for key, total in (('macs', graph.macs()), ('params', graph.params())):
        assert found[key]['original'] == total
        ratio = found[key]['pruned'] / found[key]['original']
        assert found[key]['ratio'] == ratio
    sizes = {g.name: g.size for g in graph.groups}
    assert {g['name']: g['total'] for g in found['groups']} == sizes
    assert all(g.keys() == {'name', 'kept', 'total'} for g in found['groups'])
    assert found['versions'].keys() == {'mmdhp', 'mmengine', 'torch'}
    assert found['versions']['mmdhp'] == mmdhp.__version__
    own = {n: list(t.shape) for n, t in weights(finished).items()}
    assert found['shapes'].items() <= own.items()


def test_the_checkpoint_has_plain_content(finished):
    path = f'{finished.work_dir}/pruned/pruned.pth'
    checkpoint = torch.load(path, weights_only=True)

    assert checkpoint.keys() == {'meta', 'state_dict'}
    assert same(checkpoint['state_dict'], weights(finished))
    names = [f'class {i}' for i in range(5)]
    assert checkpoint['meta']['dataset_meta'] == {'classes': names}


def test_fine_tuning_goes_on_from_the_exported_folder(finished, tmp_path):
    folder = f'{finished.work_dir}/pruned'
    cfg = Config.fromfile(f'{folder}/pruned_config.py')
    cfg.work_dir = str(tmp_path)
    cfg.load_from = f'{folder}/pruned.pth'
    cfg.experiment_name = new_name()
    cfg.optim_wrapper.optimizer.lr = 0.0
    cfg.optim_wrapper.optimizer.momentum = 0.0

    runner = train(cfg)

    assert runner.iter == finished.cfg.train_cfg.max_iters
    for name, parameter in runner.model.named_parameters():
        assert torch.equal(parameter, weights(finished)[name])


def pruned_config(folder, **changes):
    """An ordinary run of a pruned architecture."""
    cfg = config(folder, **changes)
    cfg.model = {'type': 'mmdhp.Pruned', 'architecture': {'type': 'ToyNet'}}
    cfg.optim_wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.05}}
    cfg.custom_hooks = [{'type': 'EMAHook'}, {'type': 'Watch'}]
    return cfg


def test_pruned_takes_a_checkpoint_of_any_width(finished, tmp_path):
    cfg = pruned_config(tmp_path)
    cfg.load_from = f'{finished.work_dir}/pruned/pruned.pth'

    runner = Runner.from_cfg(cfg)
    metrics = runner.test()

    assert type(runner.model) is ToyNet
    assert same(weights(runner), weights(finished))
    assert metrics == pytest.approx(channels(finished.work_dir)['metrics'])


def test_pruned_trains_averages_and_resumes(finished, tmp_path):
    weights_path = f'{finished.work_dir}/pruned/pruned.pth'
    channels_path = f'{finished.work_dir}/pruned/channels.json'

    def build(folder):
        cfg = pruned_config(folder)
        cfg.model.channels = channels_path
        cfg.load_from = weights_path
        return cfg

    whole = train(build(tmp_path / 'whole'))
    cut = build(tmp_path / 'cut')
    cut.train_cfg.max_iters = 6
    cut.param_scheduler.end = 8
    train(cut)
    cfg = build(tmp_path / 'cut')
    cfg.load_from, cfg.resume = None, True
    runner = train(cfg)

    widths = [group['kept'] for group in channels(finished.work_dir)['groups']]
    assert len(runner.model.norm.weight) in widths
    assert runner.iter == whole.iter
    first = torch.load(tmp_path / 'cut/iter_8.pth', weights_only=False)
    second = torch.load(tmp_path / 'whole/iter_8.pth', weights_only=False)
    for name, tensor in first['ema_state_dict'].items():
        assert tensor.shape == second['ema_state_dict'][name].shape


def test_pruned_refuses_another_architecture(finished):
    cfg = {'type': 'ToyNet', 'depth': 2}
    path = f'{finished.work_dir}/pruned/channels.json'
    model = MODELS.build({'type': 'mmdhp.Pruned', 'architecture': cfg})
    with pytest.raises(RuntimeError, match=r'blocks\.1\.first\.weight'):
        model.load_state_dict(weights(finished))
    small = {'type': 'FixedNet'}
    with pytest.raises(ValueError, match='does not fit FixedNet'):
        MODELS.build(
            {'type': 'mmdhp.Pruned', 'architecture': small, 'channels': path}
        )


def test_the_preprocessor_of_the_config_reaches_the_architecture():
    preprocessor = {'type': 'BaseDataPreprocessor', 'non_blocking': True}
    model = MODELS.build(
        {
            'type': 'mmdhp.Pruned',
            'architecture': {'type': 'ToyNet'},
            'data_preprocessor': preprocessor,
        }
    )

    assert model.data_preprocessor._non_blocking is True


def test_a_network_that_needs_mmdhp_is_refused_at_the_start(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(loader_package, 'REWRITES', ())
    with pytest.raises(RuntimeError, match=r'\w+\.py would import mmdhp'):
        train(config(tmp_path))
    assert not list(tmp_path.glob('*.pth'))


def test_an_unknown_type_is_refused_at_the_start():
    cfg = Config({'model': {'type': 'mmdhp.SRResnet'}})
    with pytest.raises(KeyError, match=r'mmdhp\.SRResnet'):
        check_exportable(cfg)


def test_nothing_is_exported_on_request(tmp_path):
    train(config(tmp_path, hook={'export': False}))

    assert not (tmp_path / 'pruned').exists()


def test_an_older_export_is_replaced(tmp_path):
    (tmp_path / 'pruned').mkdir()
    (tmp_path / 'pruned/old').touch()

    train(config(tmp_path))

    assert not (tmp_path / 'pruned/old').exists()
    assert json.loads((tmp_path / 'pruned/channels.json').read_text())
    assert not list(tmp_path.glob('.pruned_*'))


def test_what_prunes_is_known_before_anything_used_it():
    """The registries are empty until somebody asks for a name."""
    script = (
        'from mmdhp.release.loader_package import own_types\n'
        "kinds = ['DnCNN', 'PruningHook', 'DHP', 'PruningOptimWrapper']\n"
        "print(*own_types([dict(type=f'mmdhp.{k}') for k in kinds]))\n"
    )
    command = [sys.executable, '-c', script]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ['mmdhp.DnCNN']
