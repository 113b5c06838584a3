"""What a run of HSN reads, and what its files hold."""

import copy

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from toy import (
    SEARCH,
    SHAPE,
    ToyNet,
    checkpoint,
    config,
    hook_of,
    hsn,
    same,
    train,
    weights,
)

import mmdhp


def pretrained():
    return torch.load(checkpoint(), weights_only=False)['state_dict']


def test_a_network_must_be_trained(tmp_path):
    with pytest.raises(ValueError, match='HSN prunes a trained network'):
        train(config(tmp_path, **{**hsn(), 'load_from': None}))
    fresh = tmp_path / 'fresh.pth'
    torch.save({'state_dict': ToyNet().state_dict()}, fresh)
    with pytest.raises(ValueError, match='statistics of all 1 BatchNorms'):
        train(config(tmp_path, **{**hsn(), 'load_from': str(fresh)}))


def test_weights_may_come_from_init_cfg(tmp_path):
    cfg = config(tmp_path, **{**hsn(), 'load_from': None})
    init = {'type': 'Pretrained', 'checkpoint': checkpoint()}
    cfg.model.init_cfg = init
    assert hook_of(train(cfg), 'PruningHook').keep is not None


def test_a_checkpoint_of_the_search_holds_the_pretrained_network(tmp_path):
    train(config(tmp_path, **hsn()))
    saved = torch.load(tmp_path / 'iter_9.pth', weights_only=False)
    assert same(saved['state_dict'], pretrained())
    record = saved['mmdhp']
    assert (record['state'], record['method']) == ('search', 'HSN')
    assert int(record['search']['program']['step']) == 9
    assert len(saved['optimizer']['param_groups']) == 1


def test_the_small_network_inherits_the_weights(tmp_path):
    cfg = config(tmp_path, **hsn())
    cfg.optim_wrapper.optimizer.lr = 0.0
    runner = train(cfg)
    expected = ToyNet()
    expected.load_state_dict(pretrained())
    graph = mmdhp.trace(expected, torch.zeros(2, *SHAPE))
    mmdhp.shrink(expected, graph, hook_of(runner, 'PruningHook').keep)
    for name, parameter in expected.named_parameters():
        assert torch.equal(parameter, weights(runner)[name])
    assert all(p.requires_grad for p in runner.model.parameters())
    assert not any(m._forward_pre_hooks for m in runner.model.modules())


def test_validation_in_the_search_measures_the_selection(tmp_path):
    found = {}

    @HOOKS.register_module(force=True)
    class Compare(Hook):
        def after_val_epoch(self, runner, metrics=None):
            if runner.iter == SEARCH // 2:
                pruner = hook_of(runner, 'PruningHook').pruner
                found['score'] = metrics['score']
                found['keep'] = pruner.select()

    cfg = config(tmp_path, **hsn())
    cfg.custom_hooks.append({'type': 'Compare'})
    runner = train(cfg)
    model = ToyNet()
    model.load_state_dict(pretrained())
    full = copy.deepcopy(model).eval()
    graph = mmdhp.trace(model, torch.zeros(2, *SHAPE))
    mmdhp.shrink(model, graph, found['keep'])
    data = runner.val_dataloader.dataset
    scores = {}
    for name, net in (('pruned', model.eval()), ('full', full)):
        out = net(data.images)
        scores[name] = out[torch.arange(len(out)), data.labels].mean().item()
    assert found['score'] == pytest.approx(scores['pruned'], rel=1e-4)
    assert found['score'] != pytest.approx(scores['full'], rel=1e-2)


def test_statistics_of_the_search_are_logged_in_it_alone(tmp_path):
    train(config(tmp_path, **hsn()))
    lines = (next(tmp_path.glob('*/vis_data')) / 'scalars.json').read_text()
    entries = [eval(line) for line in lines.splitlines()]
    told = [e for e in entries if 'undecided' in e]
    assert [e['step'] for e in told] == [5, 10]
    assert {'sampled_ratio', 'cost_term', 'alpha_min'} <= told[0].keys()
