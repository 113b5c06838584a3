"""A trained network is pruned before the first iteration."""

import pytest
import torch
from toy import (
    FINE_TUNE,
    ToyNet,
    channels,
    checkpoint,
    config,
    hook_of,
    same,
    train,
    weights,
)

import mmdhp
from mmdhp.checks.weights import check_trained


@pytest.fixture(name='checkpoint')
def trained():
    """A trained network."""
    return checkpoint()


def pruning(work_dir, by_epoch=False, hook=None, pruner=None, **changes):
    cfg = config(work_dir, by_epoch, **changes)
    cfg.optim_wrapper.pruner = {
        'type': 'mmdhp.OneShot',
        'target': {'macs': 0.5},
        'input_shape': cfg.optim_wrapper.pruner.input_shape,
        'min_channels': 2,
        **(pruner or {}),
    }
    cfg.custom_hooks[0] = {'type': 'mmdhp.PruningHook', **(hook or {})}
    return cfg


@pytest.mark.parametrize('criterion', ['l1', 'taylor'])
@pytest.mark.parametrize('by_epoch', [False, True], ids=['iters', 'epochs'])
def test_all_training_is_fine_tuning(
    tmp_path, checkpoint, by_epoch, criterion
):
    options = {'criterion': criterion, 'batches': 3}
    cfg = pruning(tmp_path, by_epoch, pruner=options, load_from=checkpoint)
    runner = train(cfg)
    hook = hook_of(runner, 'PruningHook')
    assert len(hook_of(runner, 'Watch').losses) == FINE_TUNE
    assert hook.start == 0
    summary = channels(tmp_path)
    assert summary['method'] == 'OneShot'
    assert 0.45 < summary['macs']['ratio'] <= 0.5
    assert weights(runner)['stem.weight'].shape[0] < 12


def test_the_pruned_network_has_the_loaded_weights(tmp_path, checkpoint):
    cfg = pruning(tmp_path, load_from=checkpoint)
    cfg.optim_wrapper.optimizer.lr = 0.0
    runner = train(cfg)
    keep = hook_of(runner, 'PruningHook').keep
    expected = ToyNet()
    expected.load_state_dict(
        torch.load(checkpoint, weights_only=False)['state_dict']
    )
    graph = mmdhp.trace(expected, torch.zeros(2, 3, 9, 11))
    mmdhp.shrink(expected, graph, keep)
    for name, parameter in expected.named_parameters():
        assert torch.equal(parameter, weights(runner)[name])


def test_taylor_leaves_the_data_and_the_model_alone(tmp_path, checkpoint):
    """The same batches and random numbers follow, with any calibration."""
    masks, losses = [], []
    for batches in (1, 4):
        options = {'criterion': 'taylor', 'batches': batches}
        cfg = pruning(
            tmp_path / str(batches), pruner=options, load_from=checkpoint
        )
        cfg.optim_wrapper.pruner.target = {'macs': 1.0}
        runner = train(cfg)
        masks.append(hook_of(runner, 'PruningHook').pruner.scores())
        losses.append(hook_of(runner, 'Watch').losses)
    assert not torch.equal(*masks)
    assert losses[0] == losses[1]


def test_resumed_equals_uninterrupted(tmp_path, checkpoint):
    whole = train(pruning(tmp_path / 'whole', load_from=checkpoint))
    cfg = pruning(tmp_path / 'rest', load_from=None, resume=True)
    cfg.load_from = str(tmp_path / 'whole' / 'iter_3.pth')
    rest = train(cfg)
    assert same(weights(whole), weights(rest))


def test_a_network_must_be_trained(tmp_path, checkpoint):
    with pytest.raises(ValueError, match='OneShot prunes a trained network'):
        train(pruning(tmp_path))

    foreign = tmp_path / 'foreign.pth'
    torch.save({'state_dict': {'layer.weight': torch.zeros(3)}}, foreign)
    with pytest.raises(ValueError, match=r'lacks \d+ of the .*layer.weight'):
        train(pruning(tmp_path, load_from=str(foreign)))

    fresh = tmp_path / 'fresh.pth'
    torch.save({'state_dict': ToyNet().state_dict()}, fresh)
    with pytest.raises(ValueError, match='statistics of all 1 BatchNorms'):
        train(pruning(tmp_path, load_from=str(fresh)))

    trained = ToyNet()
    trained.load_state_dict(
        torch.load(checkpoint, weights_only=False)['state_dict']
    )
    check_trained(trained, 'OneShot')


def test_uniform_widths_from_scratch(tmp_path):
    masks, drawn = [], []
    for name in ('one', 'two'):
        options = {'criterion': 'random', 'weights': 'new'}
        cfg = pruning(tmp_path / name, pruner=options)
        cfg.randomness.seed = len(drawn)
        cfg.optim_wrapper.optimizer.lr = 0.0
        runner = train(cfg)
        masks.append(hook_of(runner, 'PruningHook').keep)
        drawn.append(weights(runner)['blocks.0.first.weight'])
    assert torch.equal(*masks)
    assert torch.equal(*drawn)  # of the mask, not of the run
    bound = (1 / (drawn[0].shape[1] * 3)) ** 0.5
    assert 0.8 * bound < drawn[0].abs().max() <= bound


def test_weights_may_come_from_init_cfg(tmp_path, checkpoint):
    cfg = pruning(tmp_path)
    cfg.model.init_cfg = {'type': 'Pretrained', 'checkpoint': checkpoint}
    runner = train(cfg)
    assert channels(tmp_path)['macs']['ratio'] <= 0.5
    assert not any('init_cfg' in name for name in weights(runner))


def test_there_is_no_search(tmp_path, checkpoint):
    cfg = pruning(
        tmp_path, hook={'search': {'max_iters': 3}}, load_from=checkpoint
    )
    with pytest.raises(ValueError, match='selects without a search'):
        train(cfg)
