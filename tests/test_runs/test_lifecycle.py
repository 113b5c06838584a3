"""Search, transition, fine-tune and export in a real Runner."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from toy import (
    FINE_TUNE,
    SEARCH,
    ToyNet,
    channels,
    config,
    hook_of,
    hsn,
    lwdna,
    new_name,
    pruner,
    train,
    weights,
)

from mmdhp.stages.transition import reset_hooks

ADAM = {'type': 'AdamW', 'lr': 1e-2, 'weight_decay': 0.01}
PARAMWISE = {'norm_decay_mult': 0.0, 'custom_keys': {'fc': {'lr_mult': 0.5}}}

VARIANTS = {
    'plain': {},
    'amp': {
        'optim': {
            'type': 'mmdhp.PruningAmpOptimWrapper',
            'dtype': 'bfloat16',
        }
    },
    'accumulate': {'optim': {'accumulative_counts': 2}},
    'ema': {
        'custom_hooks': [
            {
                'type': 'mmdhp.PruningHook',
                'interval': 5,
                'recalibrate': 2,
            },
            {'type': 'EMAHook', 'momentum': 0.2},
            {'type': 'Watch'},
        ]
    },
    'lwdna': lwdna(),
    'lwdna_amp': {
        'model': lwdna()['model'],
        'optim': {
            **lwdna()['optim'],
            'type': 'mmdhp.PruningAmpOptimWrapper',
            'dtype': 'bfloat16',
        },
    },
    'hsn': hsn,
    'hsn_amp': lambda: merged(
        hsn(),
        {'type': 'mmdhp.PruningAmpOptimWrapper', 'dtype': 'bfloat16'},
    ),
    'hsn_accumulate': lambda: merged(hsn(), {'accumulative_counts': 2}),
    'hsn_clip': lambda: merged(hsn(), {'clip_grad': {'max_norm': 0.1}}),
    'hsn_params': lambda: hsn(
        target={'params': 0.6}, norms='batch', decision='sample'
    ),
    'hsn_ema': lambda: {
        **hsn(scaling='normalised', generator='dense'),
        'custom_hooks': [
            {'type': 'mmdhp.PruningHook', 'interval': 5, 'recalibrate': 2},
            {'type': 'EMAHook', 'momentum': 0.2},
            {'type': 'Watch'},
        ],
    },
    'clip': {'optim': {'clip_grad': {'type': 'value', 'clip_value': 0.1}}},
    'paramwise': {'optim': {'optimizer': ADAM, 'paramwise_cfg': PARAMWISE}},
}


def merged(changes, optim):
    """Changes of a config with further keys of the optimizer wrapper."""
    return {**changes, 'optim': {**changes['optim'], **optim}}


def exported_metrics(folder, work_dir):
    """Metrics of an exported model, as a user of it measures them."""
    cfg = Config.fromfile(str(folder / 'pruned_config.py'))
    cfg.merge_from_dict({'work_dir': str(work_dir), 'log_level': 'ERROR'})
    cfg.load_from = str(folder / 'pruned.pth')
    cfg.experiment_name = new_name()
    return Runner.from_cfg(cfg).test()


@pytest.mark.parametrize('by_epoch', [False, True], ids=['iters', 'epochs'])
@pytest.mark.parametrize('variant', VARIANTS)
def test_a_run_goes_from_search_to_export(
    tmp_path, variant, by_epoch, cpu_amp
):
    changes = VARIANTS[variant]
    changes = changes() if callable(changes) else changes
    cfg = config(tmp_path, by_epoch, **changes)
    search = {'max_epochs': SEARCH // 4} if by_epoch else {'max_iters': SEARCH}
    cfg.custom_hooks[0].search = search

    runner = train(cfg)

    watch = hook_of(runner, 'Watch')
    assert len(watch.losses) == SEARCH + FINE_TUNE
    assert all(math.isfinite(loss) for loss in watch.losses)
    assert set(watch.classes) == {'ToyNet'}
    assert all(ids == watch.identities[0] for ids in watch.identities)
    assert weights(runner).keys() == ToyNet().state_dict().keys()
    assert type(runner.optim_wrapper).__name__ == (
        'AmpOptimWrapper' if 'amp' in variant else 'OptimWrapper'
    )

    found = channels(tmp_path)
    params = sum(p.numel() for p in runner.model.parameters())
    assert found['params']['pruned'] == params
    if variant == 'hsn_params':
        assert 0.5 < found['params']['ratio'] <= 0.6
    else:
        assert 0.5 - within_one_unit(runner) < found['macs']['ratio'] <= 0.5
    metrics = exported_metrics(tmp_path / 'pruned', tmp_path / 'test')
    assert metrics == pytest.approx(found['metrics'], abs=1e-6)


def within_one_unit(runner):
    """MACs of the dearest unit, as a fraction of the network."""
    pruner = hook_of(runner, 'PruningHook').pruner
    graph = pruner.graph
    full = graph.full()
    costs = []
    for unit in range(graph.num_units):
        keep = full.clone()
        keep[unit] = False
        costs.append(graph.macs() - graph.macs(keep))
    return max(costs) / pruner.baseline.macs()


def test_the_optimizer_returns_to_the_base_config(tmp_path):
    optim = {
        'optimizer': ADAM,
        'paramwise_cfg': PARAMWISE,
        'search_optimizer': {'type': 'SGD', 'lr': 0.02, 'weight_decay': 0.0},
        'clip_grad': {'type': 'value', 'clip_value': 0.1},
    }

    runner = train(config(tmp_path, optim=optim))

    wrapper = runner.optim_wrapper
    assert type(wrapper.optimizer) is torch.optim.AdamW
    assert wrapper.clip_func is torch.nn.utils.clip_grad_value_
    names = {id(p): n for n, p in runner.model.named_parameters()}
    groups = {
        names[id(group['params'][0])]: group
        for group in wrapper.optimizer.param_groups
    }
    assert groups.keys() == set(names.values())
    assert groups['norm.weight']['weight_decay'] == 0.0
    assert groups['fc.weight']['initial_lr'] == 0.5e-2
    assert groups['stem.weight']['initial_lr'] == 1e-2


def test_each_stage_has_its_own_schedule(tmp_path):
    search = {
        'max_iters': SEARCH,
        'param_scheduler': {
            'type': 'LinearLR',
            'by_epoch': False,
            'start_factor': 0.5,
            'end': 2,
        },
    }
    fine_tune = [
        {'type': 'LinearLR', 'by_epoch': False, 'start_factor': 0.1, 'end': 3},
        {'type': 'CosineAnnealingLR', 'by_epoch': False, 'begin': 3},
    ]

    cfg = config(tmp_path, hook={'search': search}, param_scheduler=fine_tune)
    runner = train(cfg)

    rates = [r[-1] for r in hook_of(runner, 'Watch').rates]
    assert rates[:SEARCH] == [0.025] + [0.05] * (SEARCH - 1)
    expected = [0.1, 0.55, 1.0] + [
        (1 + math.cos(math.pi * i / 5)) / 2 for i in range(5)
    ]
    assert rates[SEARCH:] == pytest.approx([0.05 * e for e in expected])


def test_momentum_schedules_start_anew_as_well(tmp_path):
    schedule = {
        'type': 'LinearMomentum',
        'by_epoch': False,
        'start_factor': 0.5,
        'end': 4,
    }

    @HOOKS.register_module(force=True)
    class Momentum(Hook):
        values = []

        def after_train_iter(self, runner, *args, **kwargs):
            group = runner.optim_wrapper.optimizer.param_groups[0]
            self.values.append(group['momentum'])

    cfg = config(tmp_path, param_scheduler=schedule)
    cfg.custom_hooks.append({'type': 'Momentum'})
    train(cfg)

    assert Momentum.values[:SEARCH] == [0.9] * SEARCH
    assert Momentum.values[SEARCH] == 0.45
    assert Momentum.values[SEARCH + 4] == pytest.approx(0.9)


def test_the_learning_rate_is_scaled_in_both_stages(tmp_path):
    scale = {'enable': True, 'base_batch_size': 8}  # the batch size is 4

    runner = train(config(tmp_path, auto_scale_lr=scale))

    rates = [r[-1] for r in hook_of(runner, 'Watch').rates]
    assert rates[:SEARCH] == [0.025] * SEARCH
    assert rates[SEARCH] == 0.025
    assert rates[-1] == 0.0025


def test_the_search_stops_where_the_pruner_says(tmp_path):
    fast = {'pruner': pruner(regularization=50.0)}

    runner = train(config(tmp_path, optim=fast))

    hook = hook_of(runner, 'PruningHook')
    assert hook.start == 5  # the first look
    assert runner.iter == 5 + FINE_TUNE


def test_the_ratios_are_logged(tmp_path):
    train(config(tmp_path))

    lines = (next(tmp_path.glob('*/vis_data')) / 'scalars.json').read_text()
    entries = [eval(line) for line in lines.splitlines()]
    logged = [e for e in entries if 'macs_ratio' in e]
    found = channels(tmp_path)
    assert [e['step'] for e in logged] == [5, 10, 15, 20]
    assert logged[1]['macs_ratio'] > 0.5
    for entry in logged[2:]:
        assert entry['macs_ratio'] == pytest.approx(found['macs']['ratio'])
        assert entry['params_ratio'] == pytest.approx(found['params']['ratio'])


def test_hooks_forget_the_search(tmp_path):
    best = {'type': 'CheckpointHook', 'interval': 3, 'by_epoch': False}
    best.update(save_best='score', rule='greater')
    cfg = config(tmp_path)
    cfg.default_hooks.checkpoint = best
    cfg.train_cfg.val_interval = 4

    @HOOKS.register_module(force=True)
    class Flatter(Hook):  # no later score is as good as those of the search
        priority = 'VERY_HIGH'

        def after_val_epoch(self, runner, metrics=None):
            if runner.iter <= SEARCH:
                metrics['score'] += 1000.0

    cfg.custom_hooks.append({'type': 'Flatter'})
    train(cfg)

    found = [
        int(path.stem.rpartition('_')[2])
        for path in tmp_path.glob('best_score_*')
    ]
    assert any(iteration <= SEARCH for iteration in found)
    assert any(iteration > SEARCH for iteration in found)


@pytest.mark.parametrize('rule', ['greater', 'less'])
def test_early_stopping_forgets_the_search(rule):
    hook = EarlyStoppingHook('score', rule=rule)
    fresh = dict(vars(hook))
    hook.best_score, hook.wait_count = 0.7, 3

    reset_hooks(SimpleNamespace(hooks=[hook]))

    assert vars(hook) == fresh


def test_early_stopping_in_the_search_is_told(tmp_path, caplog):
    cfg = config(tmp_path)
    cfg.log_level = 'WARNING'
    cfg.custom_hooks.append({'type': 'StopNow'})

    @HOOKS.register_module(force=True)
    class StopNow(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            runner.train_loop.stop_training = True

    train(cfg)

    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'ended in the search stage' in log
    assert not (tmp_path / 'pruned').exists()


@pytest.mark.parametrize('state', ['new', 'sliced'])
def test_optimizer_state_at_the_transition(tmp_path, state):
    found = {}

    @HOOKS.register_module(force=True)
    class Spy(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == SEARCH - 1:
                return
            state = runner.optim_wrapper.optimizer.state
            found[runner.iter] = {
                name: state[p]['momentum_buffer'].clone()
                for name, p in runner.model.named_parameters()
                if 'momentum_buffer' in state.get(p, {})
            }
            found[runner.iter, 'shapes'] = {
                name: p.shape for name, p in runner.model.named_parameters()
            }

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter == SEARCH - 1:
                self.before_train_iter_values(runner)

        def before_train_iter_values(self, runner):
            state = runner.optim_wrapper.optimizer.state
            found['last'] = {
                name: state[p]['momentum_buffer'].clone()
                for name, p in runner.model.named_parameters()
                if 'momentum_buffer' in state.get(p, {})
            }

    cfg = config(tmp_path, hook={'optimizer_state': state})
    cfg.custom_hooks.append({'type': 'Spy'})
    runner = train(cfg)

    carried = found[SEARCH]
    if state == 'new':
        assert carried == {}
        return
    hook = hook_of(runner, 'PruningHook')
    positions = hook.pruner.graph.positions(hook.keep)
    trained = {'norm.weight', 'norm.bias', 'fc.weight', 'fc.bias'}
    biases = {'blocks.0.first.bias', 'blocks.0.second.bias'}
    assert carried.keys() == trained | biases
    for name, value in carried.items():
        expected = found['last'][name]
        for axis in range(expected.dim()):
            if (name, axis) in positions:
                expected = expected.index_select(axis, positions[name, axis])
        assert torch.equal(value, expected)
        assert value.shape == found[SEARCH, 'shapes'][name]
    assert carried['norm.weight'].abs().sum() > 0
    assert len(carried['norm.weight']) < 12


def test_recalibration_averages_the_given_batches(tmp_path):
    seen = []

    @HOOKS.register_module(force=True)
    class Statistics(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            norm = runner.model.norm
            if runner.iter == SEARCH:
                seen.append(norm.running_mean.clone())
                seen.append(int(norm.num_batches_tracked))
                seen.append(norm.momentum)
                stem = runner.model.stem
                loader = runner.train_dataloader
                images = loader.dataset.images
                seen.append(stem(images[self.order()]).detach())

        @staticmethod
        def order():
            draw = torch.Generator().manual_seed(3)
            return torch.randperm(16, generator=draw)[:8]

    cfg = config(tmp_path, hook={'recalibrate': 2})
    cfg.train_dataloader.dataset.augment = False
    cfg.custom_hooks.append({'type': 'Statistics'})
    train(cfg)

    mean, batches, momentum, outputs = seen
    assert (batches, momentum) == (2, 0.1)
    torch.testing.assert_close(mean, outputs.mean((0, 2, 3)))


def test_the_same_runner_can_test_behind_the_training(tmp_path):
    runner = train(config(tmp_path))
    length = runner.train_loop.max_iters
    assert runner.test() == runner.val()
    assert runner.train_loop.max_iters == length
