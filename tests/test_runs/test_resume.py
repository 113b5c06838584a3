"""A run may stop anywhere; resumed, it ends where it would have ended."""

import os

import pytest
import torch
from mmengine.runner import find_latest_checkpoint
from toy import (
    FINE_TUNE,
    SEARCH,
    InterruptedRunError,
    channels,
    config,
    hook_of,
    hsn,
    lwdna,
    same,
    train,
    weights,
)

from mmdhp.checkpoints.record import KEY, read_record

# Iterations behind which it stops: in search, when the search is over, right
# behind the transition, in fine-tuning, before the export.
ITERATIONS = [3, 7, SEARCH, SEARCH + 1, SEARCH + 5, SEARCH + FINE_TUNE - 1]
EPOCHS = [4, 9, SEARCH, SEARCH + 1, SEARCH + 5]


METHODS = ['plain', 'lwdna', 'hsn', 'hsn_samples']
EXTRAS = {
    'plain': {},
    'lwdna': lwdna(),
    'hsn': hsn,
    'hsn_samples': lambda: hsn(inputs='random'),
    'ema': {'hooks': [{'type': 'EMAHook', 'momentum': 0.2}]},
    'recalibrate': {'hook': {'recalibrate': 2}},
    'sliced': {'hook': {'optimizer_state': 'sliced'}},
    'clip': {'optim': {'clip_grad': {'type': 'value', 'clip_value': 0.1}}},
    'best': {
        'default_hooks': {
            'checkpoint': {
                'type': 'CheckpointHook',
                'interval': 3,
                'by_epoch': False,
                'save_best': 'score',  # saves again, in the validation
                'rule': 'greater',
            }
        }
    },
    'cosine': {
        'param_scheduler': {'type': 'CosineAnnealingLR', 'by_epoch': False}
    },
}


def build(folder, by_epoch=False, extra='plain'):
    changes = EXTRAS[extra]
    changes = dict(changes() if callable(changes) else changes)
    hooks = changes.pop('hooks', [])
    cfg = config(folder, by_epoch, **changes)
    cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
    if extra == 'hsn_samples':
        search = cfg.custom_hooks[0].search
        search.samples = 13  # also four batches
        search.dataloader = {'dataset': {'augment': False}}
    return cfg


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """Run of each kind, once."""
    runs = {}

    def run(by_epoch=False, extra='plain'):
        key = by_epoch, extra
        if key not in runs:
            folder = tmp_path_factory.mktemp('whole')
            runs[key] = train(build(folder, by_epoch, extra))
        return runs[key]

    return run


def interrupted(cfg, at):
    """Train until an iteration, then resume to the end."""
    first = cfg.copy()
    first.custom_hooks = [*cfg.custom_hooks, {'type': 'Interrupt', 'at': at}]
    with pytest.raises(InterruptedRunError):
        train(first)
    return resumed(cfg)


def resumed(cfg):
    second = cfg.copy()
    second.experiment_name = f'{cfg.experiment_name}_resumed'
    second.resume, second.load_from = True, None
    return train(second)


def assert_same_end(runner, whole):
    hook, whole_hook = (
        hook_of(runner, 'PruningHook'),
        hook_of(whole, 'PruningHook'),
    )
    assert torch.equal(hook.keep, whole_hook.keep)
    assert hook.start == whole_hook.start
    assert same(weights(runner), weights(whole))
    ours, theirs = channels(runner.work_dir), channels(whole.work_dir)
    assert ours == theirs
    rates = hook_of(runner, 'Watch').rates
    assert rates
    assert rates == hook_of(whole, 'Watch').rates[-len(rates) :]
    assert type(runner.optim_wrapper) is type(whole.optim_wrapper)
    first = runner.optim_wrapper.optimizer.state_dict()
    second = whole.optim_wrapper.optimizer.state_dict()
    assert first['param_groups'] == second['param_groups']


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('at', ITERATIONS)
def test_resume_by_iterations(tmp_path, uninterrupted, at, method):
    runner = interrupted(build(tmp_path, extra=method), at)

    assert_same_end(runner, uninterrupted(extra=method))


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('at', EPOCHS)
def test_resume_by_epochs(tmp_path, uninterrupted, at, method):
    runner = interrupted(build(tmp_path, by_epoch=True, extra=method), at)

    assert_same_end(runner, uninterrupted(by_epoch=True, extra=method))


@pytest.mark.parametrize('extra', [e for e in EXTRAS if e not in METHODS])
@pytest.mark.parametrize('at', [7, SEARCH])
def test_resume_with(tmp_path, uninterrupted, extra, at):
    runner = interrupted(build(tmp_path, extra=extra), at)

    assert_same_end(runner, uninterrupted(extra=extra))


def test_a_finished_run_exports_again(tmp_path):
    whole = train(config(tmp_path))
    before = channels(tmp_path)
    (tmp_path / 'pruned/channels.json').unlink()

    runner = resumed(config(tmp_path))

    assert same(weights(runner), weights(whole))
    assert channels(tmp_path) == before
    assert before['metrics']['score']


def test_the_transition_is_saved_where_the_checkpoints_are(tmp_path):
    cfg = config(tmp_path / 'run')
    cfg.default_hooks.checkpoint.out_dir = str(tmp_path / 'elsewhere')
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    first = cfg.copy()
    first.custom_hooks = [
        *cfg.custom_hooks,
        {'type': 'Interrupt', 'at': SEARCH},
    ]
    with pytest.raises(InterruptedRunError):
        train(first)

    latest = find_latest_checkpoint(str(tmp_path / 'run'))
    name = f'pruned_start_iter_{SEARCH}.pth'
    assert latest == str(tmp_path / 'elsewhere/run' / name)
    record = read_record(torch.load(latest, weights_only=False))
    assert record['state'] == 'fine_tune'
    assert not list(tmp_path.rglob('*.part'))
    assert hook_of(resumed(cfg), 'PruningHook').start == SEARCH
    assert os.path.exists(latest)  # max_keep_ckpts spares it


def test_without_a_checkpoint_hook_the_transition_is_saved(tmp_path):
    cfg = config(tmp_path)
    cfg.default_hooks.checkpoint = None

    train(cfg)

    latest = find_latest_checkpoint(str(tmp_path))
    assert latest == str(tmp_path / f'pruned_start_iter_{SEARCH}.pth')
    assert KEY in torch.load(latest, weights_only=False)


def test_validation_does_not_change_the_training(tmp_path, uninterrupted):
    cfg = config(tmp_path)
    cfg.val_dataloader.dataset.augment = True  # draws random numbers
    cfg.train_cfg.val_interval = 1

    assert same(weights(train(cfg)), weights(uninterrupted()))


def test_weights_of_a_finished_run_can_be_loaded_into_its_model(tmp_path):
    runner = train(config(tmp_path))
    path = find_latest_checkpoint(str(tmp_path))

    runner.load_checkpoint(path)

    saved = torch.load(path, weights_only=False)['state_dict']
    assert same(weights(runner), saved)
