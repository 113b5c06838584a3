"""What is LW-DNA's own in a run: fresh weights, the baseline's figures."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from toy import (
    FINE_TUNE,
    SEARCH,
    SHAPE,
    ToyNet,
    channels,
    config,
    hook_of,
    lwdna,
    new_name,
    same,
    train,
    weights,
)

from mmdhp.graph import trace


@HOOKS.register_module(force=True)
class Snapshots(Hook):
    """Keeps the weights before each iteration."""

    def before_train(self, runner):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen[runner.iter] = {
            name: tensor.clone() for name, tensor in weights(runner).items()
        }


def run(folder, hook=(), **changes):
    cfg = config(folder, hook=hook, **lwdna(**changes))
    cfg.custom_hooks.append({'type': 'Snapshots'})
    cfg.custom_hooks.append({'type': 'EMAHook', 'momentum': 0.3})
    return train(cfg)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A run to half of the baseline's MACs."""
    return run(tmp_path_factory.mktemp('run'))


def test_training_starts_from_scratch(finished):
    seen = hook_of(finished, 'Snapshots').seen
    warm, fresh = seen[SEARCH - 1], seen[SEARCH]
    assert warm['stem.weight'].shape[0] == 24
    assert fresh['stem.weight'].shape[0] < 24
    assert warm['norm.running_mean'].abs().sum() > 0
    assert fresh['norm.running_mean'].abs().sum() == 0
    assert (fresh['norm.weight'] == 1).all()
    bound = fresh['stem.weight'][0].numel() ** -0.5  # PyTorch's own
    assert 0.9 * bound < fresh['stem.weight'].abs().max() <= bound


def test_training_continues_from_the_warm_up_on_request(tmp_path):
    runner = run(tmp_path, weights='generated')
    seen = hook_of(runner, 'Snapshots').seen
    positions = hook_of(runner, 'PruningHook').pruner.graph.positions(
        hook_of(runner, 'PruningHook').keep
    )
    kept = positions['norm.running_mean', 0]
    assert seen[SEARCH]['norm.running_mean'].abs().sum() > 0
    assert seen[SEARCH]['norm.weight'].shape == kept.shape
    before = seen[SEARCH - 1]['norm.weight'][kept]
    assert (seen[SEARCH]['norm.weight'] - before).abs().max() < 0.1


def test_the_average_starts_from_the_fresh_weights(tmp_path):
    cfg = config(tmp_path, hook={}, **lwdna())
    cfg.custom_hooks.append({'type': 'EMAHook', 'momentum': 0.3})
    cfg.train_cfg.max_iters = 1
    cfg.optim_wrapper.optimizer = {'type': 'SGD', 'lr': 0.0}
    runner = train(cfg)
    average = hook_of(runner, 'EMAHook').ema_model.module.state_dict()
    for name, parameter in runner.model.named_parameters():
        torch.testing.assert_close(average[name], parameter.data)


def test_figures_are_those_of_the_baseline(finished):
    found = channels(finished.work_dir)
    baseline = trace(ToyNet(), torch.zeros(2, *SHAPE))
    model = finished.model
    small = trace(model, torch.zeros(2, *SHAPE))
    assert found['macs']['original'] == baseline.macs()
    assert found['macs']['pruned'] == small.macs()
    assert found['macs']['ratio'] <= 0.5
    assert found['params']['original'] == baseline.params()
    totals = {g['name']: g['total'] for g in found['groups']}
    assert totals == {'stem': 12, 'blocks.0.first': 20}
    assert found['widened'] == {'stem': 24, 'blocks.0.first': 40}


def test_the_log_compares_with_the_baseline(tmp_path):
    cfg = config(tmp_path, **lwdna())
    cfg.log_level = 'INFO'
    train(cfg)
    lines = next(tmp_path.glob('*/*.log')).read_text().splitlines()
    cells = [line.split() for line in lines]
    assert ['group', 'kept', 'of', 'share', 'baseline', 'growth'] in cells
    (row,) = [c for c in cells if c[:1] == ['stem'] and len(c) == 6]
    (found,) = [
        group['kept']
        for group in channels(tmp_path)['groups']
        if group['name'] == 'stem'
    ]
    growth = f'{found / 12 - 1:+.0%}'
    assert row == ['stem', str(found), '24', f'{found / 24:.0%}', '12', growth]


def test_a_group_that_keeps_all_its_widened_channels_is_exported(tmp_path):
    floors = {'stem': 24, 'blocks.0.first': 0.1}
    runner = run(tmp_path, target={'macs': 1.0}, floors=floors)
    found = channels(tmp_path)
    assert found['shapes']['stem.weight'] == [24, 3, 3, 3]
    cfg = config(tmp_path / 'test')
    cfg.model = {
        'type': 'mmdhp.Pruned',
        'architecture': {'type': 'ToyNet'},
        'channels': str(tmp_path / 'pruned/channels.json'),
    }
    cfg.optim_wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.05}}
    cfg.custom_hooks = []
    cfg.load_from = str(tmp_path / 'pruned/pruned.pth')
    other = Runner.from_cfg(cfg)
    assert other.model.stem.out_channels == 24
    assert other.test() == pytest.approx(found['metrics'])
    average = hook_of(runner, 'EMAHook').ema_model.module.state_dict()
    assert same(weights(other), average)


def test_a_checkpoint_is_tested_with_the_config_of_the_run(finished, tmp_path):
    cfg = finished.cfg.copy()
    cfg.work_dir = str(tmp_path)
    cfg.experiment_name = new_name()
    last = SEARCH + FINE_TUNE
    cfg.load_from = f'{finished.work_dir}/iter_{last - last % 3}.pth'
    cfg.optim_wrapper = cfg.train_cfg = cfg.train_dataloader = None
    cfg.param_scheduler = None
    cfg.custom_hooks = [h for h in cfg.custom_hooks if h.type != 'Snapshots']
    runner = Runner.from_cfg(cfg)
    runner.test()
    kept = weights(finished)['stem.weight'].shape
    assert weights(runner)['stem.weight'].shape == kept


def test_a_warm_up_is_short_by_default(tmp_path):
    cfg = config(tmp_path, **lwdna())
    cfg.custom_hooks[0].pop('search')
    cfg.train_cfg.max_iters = 300
    runner = Runner.from_cfg(cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook = hook_of(runner, 'PruningHook')
    hook.before_run(runner)
    assert hook.search_length == 3


def test_the_baseline_as_load_from_is_told(tmp_path):
    torch.save(ToyNet().state_dict(), tmp_path / 'baseline.pth')
    cfg = config(tmp_path / 'run', **lwdna())
    cfg.load_from = str(tmp_path / 'baseline.pth')
    with pytest.raises(
        ValueError, match='or the baseline of a widened one .*12 of 24'
    ):
        train(cfg)


def test_momentum_of_weights_that_are_thrown_away_is_refused(tmp_path):
    hook = {'optimizer_state': 'sliced'}
    with pytest.raises(ValueError, match="is 'sliced', but LWDNA draws new"):
        train(config(tmp_path, hook=hook, **lwdna()))
    kept = config(tmp_path / 'kept', hook=hook, **lwdna(weights='generated'))
    assert hook_of(train(kept), 'PruningHook').state == 'fine_tune'
