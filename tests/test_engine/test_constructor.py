"""What the constructor and the optimizer wrappers do around a step."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from toy import ToyNet, config, pruner, train

from mmdhp.engine import (
    PruningAmpOptimWrapper,
    PruningOptimWrapper,
    PruningOptimWrapperConstructor,
)
from mmdhp.engine.constructor import build_pruner
from mmdhp.methods import DHP
from mmdhp.methods.options import accepted


def construct(model=None, paramwise_cfg=None, **changes):
    cfg = {
        'type': 'mmdhp.PruningOptimWrapper',
        'optimizer': {'type': 'SGD', 'lr': 0.1},
        'pruner': pruner(),
        **changes,
    }
    return PruningOptimWrapperConstructor(cfg, paramwise_cfg)(
        ToyNet() if model is None else model
    )


@pytest.fixture
def loss():
    """A wrapper that may search, and its loss."""

    def build(**changes):
        torch.manual_seed(0)
        model = ToyNet()
        wrapper = construct(model, **changes)
        wrapper.has_hook = True
        wrapper.pruner.push()
        images, labels = torch.randn(4, 3, 9, 11), torch.arange(4)
        return wrapper, model(images, labels, mode='loss')['loss']

    return build


def test_the_config_is_not_changed():
    cfg = {
        'optimizer': {'type': 'SGD', 'lr': 0.1},
        'pruner': pruner(),
        'clip_grad': {'type': 'value', 'clip_value': 0.1},
    }
    before = copy.deepcopy(cfg)

    PruningOptimWrapperConstructor(cfg)(ToyNet())

    assert cfg == before


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        ('OptimWrapper', PruningOptimWrapper),
        ('mmdhp.PruningOptimWrapper', PruningOptimWrapper),
        (PruningOptimWrapper, PruningOptimWrapper),
        ('AmpOptimWrapper', PruningAmpOptimWrapper),
        ('PruningAmpOptimWrapper', PruningAmpOptimWrapper),
    ],
)
def test_the_search_stands_in_for_the_plain_wrapper(kind, expected, cpu_amp):
    wrapper = construct(type=kind)

    assert type(wrapper) is expected
    fine_tune = wrapper.build_fine_tune(ToyNet())
    assert type(fine_tune) is expected.__mro__[2]
    assert isinstance(fine_tune, OptimWrapper)


def test_another_wrapper_cannot_search():
    with pytest.raises(KeyError, match="'OptimWrapperDict' cannot search"):
        construct(type='OptimWrapperDict')


def test_a_pruner_is_needed():
    with pytest.raises(KeyError, match='has no `pruner`'):
        PruningOptimWrapperConstructor({'optimizer': {'type': 'SGD'}})


@pytest.mark.parametrize(
    ('options', 'factor'),
    [({}, 1 / 9), ({'embedding_dim': 3}, 1 / 4), ({'weight_lr': 0.5}, 0.5)],
)
def test_the_latents_are_the_last_group(options, factor):
    wrapper = construct(pruner=pruner(**options))

    *_, others, latents = wrapper.optimizer.param_groups
    program = wrapper.pruner.program
    assert latents['params'] == [program.latent]
    assert latents['lr'] == 0.1
    assert others['lr'] == pytest.approx(0.1 * factor)
    known = {id(p) for p in program.parameters()} - {id(program.latent)}
    assert {id(p) for p in others['params']} == known


@pytest.mark.parametrize(
    ('change', 'kind', 'lr', 'momentum'),
    [
        ({'lr': 0.3}, torch.optim.SGD, 0.3, 0.9),
        ({'type': 'Adam', 'lr': 0.01}, torch.optim.Adam, 0.01, None),
    ],
)
def test_the_search_may_have_its_own_optimizer(change, kind, lr, momentum):
    base = {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}

    wrapper = construct(optimizer=base, search_optimizer=change)

    assert type(wrapper.optimizer) is kind
    assert wrapper.search_lr == lr
    assert wrapper.optimizer.defaults.get('momentum') == momentum
    fine_tune = wrapper.build_fine_tune(ToyNet()).optimizer
    assert type(fine_tune) is torch.optim.SGD
    assert fine_tune.defaults['momentum'] == 0.9


def test_a_base_constructor_is_used():
    wrapper = construct(
        base_constructor={'type': 'DefaultOptimWrapperConstructor'},
        paramwise_cfg={'custom_keys': {'fc': {'lr_mult': 0.5}}},
    )

    rates = {g['lr'] for g in wrapper.optimizer.param_groups}
    assert rates == {0.1, 0.05, 0.1 / 9}


def test_sharded_models_are_refused():
    class FullyShardedDataParallel(torch.nn.Module):
        pass

    model = ToyNet()
    model.shard = FullyShardedDataParallel()
    with pytest.raises(TypeError, match='wrapped by FullyShardedDataParallel'):
        construct(model)


@pytest.mark.parametrize('kind', ['DHP', 'mmdhp.DHP', DHP])
def test_a_pruner_is_built_by_name_or_class(kind):
    assert type(build_pruner(pruner(type=kind))) is DHP


def test_a_class_takes_what_its_bases_take():
    names = accepted(DHP)

    assert {'target', 'divisor', 'threshold', 'regularization'} <= set(names)
    assert 'kwargs' not in names


def test_without_a_hook_there_is_no_step(loss):
    wrapper, value = loss()
    wrapper.has_hook = False

    with pytest.raises(RuntimeError, match='Runner has no PruningHook'):
        wrapper.update_params(value)


def test_a_step_moves_the_latents_and_the_weights(loss):
    wrapper, value = loss()
    latent = wrapper.pruner.latent.clone()

    wrapper.update_params(value)

    assert not torch.equal(wrapper.pruner.latent, latent)
    for weight in wrapper.pruner.program.weights:
        assert weight.parameter.grad is None


class SkippingScaler:
    """A gradient scaler that has found an overflow."""

    def __init__(self, fused=False):
        self.fused = fused

    def scale(self, loss):
        return loss * float('inf')

    def get_scale(self):
        return float('inf')

    def unscale_(self, optimizer):
        pass

    def step(self, optimizer):
        if self.fused:  # then the kernel looks at `found_inf` and skips
            optimizer.found_inf = torch.ones(())
            optimizer.step()
            del optimizer.found_inf

    def update(self, scale):
        pass


@pytest.mark.parametrize('fused', [False, True])
def test_a_skipped_step_leaves_the_latents_alone(loss, cpu_amp, fused):
    optimizer = {'type': 'SGD', 'lr': 0.1}
    if fused:
        optimizer['fused'] = True
    wrapper, value = loss(
        type='AmpOptimWrapper', dtype='bfloat16', optimizer=optimizer
    )
    wrapper.loss_scaler = SkippingScaler(fused)
    before = copy.deepcopy(wrapper.pruner.program.state_dict())

    wrapper.update_params(value)

    after = wrapper.pruner.program.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_accumulated_gradients_are_pulled_once(loss, monkeypatch):
    wrapper, value = loss(accumulative_counts=2)
    pulls = []
    pull = wrapper.pruner.pull
    monkeypatch.setattr(
        wrapper.pruner, 'pull', lambda: (pulls.append(1), pull())
    )

    wrapper.update_params(value)
    assert pulls == []
    stem = wrapper.pruner.program.weights[0].parameter
    assert stem.grad is not None


def test_what_schedulers_wrote_is_undone():
    wrapper = construct(
        optimizer={'type': 'SGD', 'lr': 0.1, 'momentum': 0.9},
        paramwise_cfg={'custom_keys': {'fc': {'lr_mult': 0.5}}},
    )
    before = [
        {k: v for k, v in group.items() if k != 'params'}
        for group in wrapper.param_groups
    ]
    for group in wrapper.param_groups:
        group.update(lr=7.0, momentum=0.1, initial_lr=3.0, max_lr=9.0)

    wrapper.reset_settings()

    after = [
        {k: v for k, v in group.items() if k != 'params'}
        for group in wrapper.param_groups
    ]
    assert after == before


def test_the_hook_needs_the_wrapper(tmp_path):
    cfg = config(tmp_path)
    cfg.optim_wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.1}}

    with pytest.raises(TypeError, match='PruningHook found a OptimWrapper'):
        train(cfg)
