"""``mmdhp prune``: a smaller model without a training run."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from test_config import SIZE, base_of, fail
from toy import SHAPE, ToyNet, channels, checkpoint, train

from mmdhp import rebuild
from mmdhp.cli import main


def prune(base, out, *arguments, weights=None, target='0.5'):
    main(
        ['prune', str(base), weights or checkpoint(), '--target', target]
        + ['--out', str(out), *map(str, arguments)]
    )
    return channels(out)


@pytest.mark.parametrize('criterion', ['l1', 'bn', 'taylor', 'random'])
def test_the_folder_is_that_of_a_run(tmp_path, criterion, capsys):
    base, out = base_of(tmp_path), tmp_path / 'small'
    exclude = ['--exclude', 'blocks.0.first'] if criterion == 'bn' else []
    options = ['--criterion', criterion, '--scope', 'global', *exclude]
    found = prune(base, out, *SIZE, *options, target='0.7')
    assert found['method'] == 'OneShot'
    assert 0.5 < found['macs']['ratio'] <= 0.7
    weights = torch.load(out / 'pruned/pruned.pth', weights_only=True)
    small = rebuild(ToyNet(), weights)
    params = sum(p.numel() for p in small.parameters())
    assert params == found['params']['pruned'] < found['params']['original']
    cfg = Config.fromfile(out / 'pruned/pruned_config.py')
    again = MODELS.build(cfg.model)
    again.load_state_dict(weights['state_dict'])
    images = torch.rand(2, *SHAPE)
    assert torch.equal(again.eval()(images), small.eval()(images))
    shown = capsys.readouterr().out
    assert f'mmdhp train {out}/fine_tune.py' in shown
    assert 'BatchNorm statistics are from 20 batches' in shown


def mean_of(path):
    """Running mean of the only norm in a checkpoint."""
    state = torch.load(path, weights_only=False)['state_dict']
    return state['norm.running_mean']


def test_statistics_are_those_of_the_pruned_network(tmp_path):
    base = base_of(tmp_path)
    prune(base, tmp_path / 'as_they_were', *SIZE, '--calibrate', 0)
    prune(base, tmp_path / 'new', *SIZE, '--calibrate', 2)
    means = [
        mean_of(tmp_path / name / 'pruned/pruned.pth')
        for name in ('as_they_were', 'new')
    ]
    old = mean_of(checkpoint())
    assert set(means[0].tolist()) <= set(old.tolist())
    assert not torch.allclose(*means)


def test_fine_tuning_starts_from_the_pruned_weights(tmp_path):
    base, out = base_of(tmp_path), tmp_path / 'small'
    found = prune(base, out, *SIZE)
    cfg = Config.fromfile(out / 'fine_tune.py')
    assert cfg.optim_wrapper.optimizer.lr == 0.005
    cfg.optim_wrapper.optimizer.lr = 0.0
    cfg.work_dir = str(tmp_path / 'tuned')
    runner = train(cfg)
    before = torch.load(out / 'pruned/pruned.pth')['state_dict']
    for name, value in runner.model.named_parameters():
        assert torch.equal(value, before[name]), name
    params = sum(p.numel() for p in runner.model.parameters())
    assert params == found['params']['pruned']


def test_limits_of_the_pruner_in_a_config_hold(tmp_path):
    wrapper = {
        'type': 'mmdhp.PruningOptimWrapper',
        'constructor': 'mmdhp.PruningOptimWrapperConstructor',
        'optimizer': {'type': 'SGD', 'lr': 0.05},
        'pruner': {
            'type': 'mmdhp.DHP',
            'target': {'macs': 0.9},
            'input_shape': SHAPE,
            'exclude': ['stem'],
        },
    }
    base = base_of(tmp_path, optim_wrapper=wrapper)
    found = prune(base, tmp_path / 'small')
    assert [g['name'] for g in found['groups']] == ['blocks.0.first']
    assert found['macs']['ratio'] <= 0.5
    assert found['input_shape'] == list(SHAPE)


def test_a_plain_constructor_comes_back(tmp_path):
    wrapper = {
        'constructor': 'mmpretrain.LearningRateDecayOptimWrapperConstructor',
        'optimizer': {'type': 'SGD', 'lr': 0.05},
    }
    base, out = base_of(tmp_path, optim_wrapper=wrapper), tmp_path / 'small'
    prune(base, out, *SIZE, '--calibrate', 0)
    cfg = Config.fromfile(out / 'pruned/pruned_config.py')
    assert cfg.optim_wrapper.constructor == wrapper['constructor']


def test_without_data_it_says_so(tmp_path, capsys):
    data = {'dataset': {'type': 'ToyData', 'data_root': 'data/absent'}}
    base = base_of(tmp_path, train_dataloader=data)
    prune(base, tmp_path / 'small', *SIZE)
    shown = capsys.readouterr().out
    assert 'not estimated anew: data/absent is not here' in shown
    asked = ('--calibrate', 3, '--out', tmp_path / 'other')
    shown = fail('prune', base, checkpoint(), '--target', 0.5, *SIZE, *asked)
    assert 'train_dataloader needs data/absent' in shown


def test_the_config_may_be_changed(tmp_path, capsys):
    batch = [
        '--cfg-options',
        'train_dataloader.batch_size=8',
        'train_dataloader.sampler.type=DefaultSampler',
    ]
    prune(base_of(tmp_path), tmp_path / 'small', *SIZE, *batch)
    assert 'are from 2 batches' in capsys.readouterr().out
    bare = ('--cfg-options', 'batch_size')
    base = base_of(tmp_path)
    shown = fail('prune', base, checkpoint(), '--target', 0.5, *bare)
    assert '--cfg-options batch_size has no "="' in shown


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    precious = tmp_path / 'small/pruned/thesis.tex'
    precious.parent.mkdir(parents=True)
    precious.write_text('years of work')
    asked = (*SIZE, '--out', tmp_path / 'small', '--target', 0.5)
    shown = fail('prune', base_of(tmp_path), checkpoint(), *asked)
    assert 'is no exported model, so it is not replaced' in shown
    assert precious.read_text() == 'years of work'


def weights_of(folder, model, **changes):
    state = {**model.state_dict(), **changes}
    torch.save({'state_dict': state}, folder / 'other.pth')
    return folder / 'other.pth'


@pytest.mark.parametrize(
    ('model', 'changes', 'part'),
    [
        (ToyNet(), {}, 'are as initialised'),
        (ToyNet(width=6), {}, 'stem.weight: (6, 3, 3, 3) against (12, 3, 3'),
        (torch.nn.Linear(2, 3), {}, 'stem.weight: missing'),
    ],
)
def test_unfit_weights_are_told(tmp_path, model, changes, part):
    weights = weights_of(tmp_path, model, **changes)
    out = ('--out', tmp_path / 'small')
    base = base_of(tmp_path)
    shown = fail('prune', base, weights, '--target', 0.5, *SIZE, *out)
    assert shown.startswith('error: ')
    assert part in shown
    assert not (tmp_path / 'small').exists()


def test_the_summary_has_no_metrics_of_another_network(tmp_path):
    prune(base_of(tmp_path), tmp_path / 'small', *SIZE)
    text = (tmp_path / 'small/pruned/channels.json').read_text()
    assert json.loads(text)['metrics'] == {}
