"""What fails leaves a model, and all that is global, as they were."""

import importlib
import random

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from toy import SHAPE, ToyNet, config, hook_of, hsn, lwdna, pruner

import mmdhp
from mmdhp.engine import pruning_hook
from mmdhp.engine.constructor import (
    PruningOptimWrapperConstructor,
    build_pruner,
)
from mmdhp.graph import GraphError, trace
from mmdhp.models.widened import build_widened
from mmdhp.stages import decisions
from mmdhp.surgery import shrink, verify, widen

# The modules, whose names in the package are those of their functions.
SHRINK = importlib.import_module('mmdhp.surgery.shrink')
WIDEN = importlib.import_module('mmdhp.surgery.widen')


class InjectedError(Exception):
    """A failure that only these tests know."""


def fail(*_, **__):
    """In place of something that works."""
    torch.rand(1)
    raise InjectedError


def make_a_mess(model):
    """All that the code of a model should not do, but may."""
    model.register_forward_hook(fail)
    model.train()
    model.norm.eval()
    model.fc.weight.requires_grad_(False)
    model.norm.running_mean.data.add_(1)
    model.stem.stride = 7
    model.extra = torch.nn.Linear(2, 2)
    random.random()
    np.random.rand()
    torch.rand(1)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device('meta')
    torch.set_grad_enabled(not torch.is_grad_enabled())


@MODELS.register_module(force=True)
class MessyNet(ToyNet):
    """Makes a mess in its forward pass once it is told to, then fails."""

    messy = False

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if not self.messy:
            return super().forward(inputs, data_samples, mode)
        make_a_mess(self)
        raise InjectedError


def state_of(model):
    """Everything about a model that could change, comparable."""
    modules = dict(model.named_modules())
    hooks = ('_forward_hooks', '_forward_pre_hooks', '_state_dict_hooks')
    return {
        'weights': {k: v.tolist() for k, v in model.state_dict().items()},
        'parameters': {n: id(p) for n, p in model.named_parameters()},
        'buffers': {n: id(b) for n, b in model.named_buffers()},
        'grads': {
            n: None if p.grad is None else p.grad.tolist()
            for n, p in model.named_parameters()
        },
        'flags': {n: p.requires_grad for n, p in model.named_parameters()},
        'modes': {n: m.training for n, m in modules.items()},
        'classes': {n: type(m) for n, m in modules.items()},
        'hooks': {
            n: [list(vars(m)[h].items()) for h in hooks]
            for n, m in modules.items()
        },
        'attributes': {
            n: {
                k: v
                for k, v in vars(m).items()
                if isinstance(v, (int, str, tuple, float))
            }
            for n, m in modules.items()
        },
    }


def state_of_the_world():
    scope = DefaultScope.get_current_instance()
    return {
        'python': random.getstate(),
        'numpy': [np.asarray(x).tolist() for x in np.random.get_state()],
        'torch': torch.get_rng_state().tolist(),
        'dtype': torch.get_default_dtype(),
        'device': torch.empty(0).device,
        'grad': torch.is_grad_enabled(),
        'scope': scope and scope.scope_name,
    }


@pytest.fixture(autouse=True)
def _clean():
    """What a failing test of these leaves does not reach the next."""
    yield
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


@pytest.fixture
def model():
    """A network in use: modes, flags, gradients and hooks of its own."""
    model = MessyNet()
    model.train()
    model.blocks.eval()
    model.norm.bias.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    model.stem.register_forward_hook(lambda *_: None)
    return model


def unchanged(model, action, error=InjectedError, ignore=()):
    """Run something that fails; compare all before and behind."""
    DefaultScope.get_instance('test', scope_name='mmengine')
    before, world = state_of(model), state_of_the_world()
    with pytest.raises(error):
        action()
    now = state_of_the_world()
    after = state_of(model)
    for key in world.keys() - set(ignore):
        assert now[key] == world[key], key
    for key in before:
        assert after[key] == before[key], key


def mask_of(graph):
    keep = graph.full()
    keep[1:5] = False
    return keep


@pytest.mark.parametrize('grad', [True, False])
def test_a_trace_that_fails(model, grad):
    model.messy = True
    inputs = torch.rand(2, *SHAPE)

    with torch.set_grad_enabled(grad):
        unchanged(model, lambda: trace(model, inputs), GraphError)


def test_a_trace_that_works(model):
    before, world = state_of(model), state_of_the_world()

    trace(model, torch.zeros(2, *SHAPE))

    assert state_of(model) == before
    assert state_of_the_world() == world


@pytest.mark.parametrize('kind', ['DHP', 'HSN', 'LWDNA', 'OneShot'])
@pytest.mark.filterwarnings('ignore:MessyNet is not widened')
@pytest.mark.parametrize(
    'changes',
    [
        {'target': {'macs': 1e-5}},
        {'exclude': ['*']},
        {'floors': {'no_such': 2}},
        {'input_shape': (5, 9, 11)},
    ],
    ids=['target', 'exclude', 'floors', 'shape'],
)
def test_a_method_that_cannot_be_attached(model, kind, changes):
    cfg = {**pruner(type=f'mmdhp.{kind}'), **changes}
    if kind in ('OneShot', 'HSN'):
        del cfg['regularization']
    if kind == 'OneShot' and 'input_shape' in changes:
        cfg['criterion'] = 'random'
    method = build_pruner(cfg)

    unchanged(model, lambda: method.attach(model), (GraphError, KeyError))


def test_a_verification_that_fails(model):
    graph = trace(model, torch.rand(2, *SHAPE))
    model.messy = True
    inputs = torch.rand(2, *SHAPE)

    unchanged(model, lambda: verify(model, graph, mask_of(graph), inputs))


def test_a_verification_that_works(model):
    graph = trace(model, torch.rand(2, *SHAPE))
    inputs = torch.rand(2, *SHAPE)
    before, world = state_of(model), state_of_the_world()

    verify(model, graph, mask_of(graph), inputs)

    assert state_of(model) == before
    assert state_of_the_world() == world


@pytest.mark.parametrize('step', ['refresh', 'set_attributes', 'derive_again'])
def test_a_cut_that_fails(model, monkeypatch, step):
    graph = trace(model, torch.rand(2, *SHAPE))
    monkeypatch.setattr(SHRINK, step, fail)

    unchanged(model, lambda: shrink(model, graph, mask_of(graph)))

    monkeypatch.undo()
    shrink(model, graph, mask_of(graph))
    assert sum(p.numel() for p in model.parameters()) < sum(
        p.numel() for p in MessyNet().parameters()
    )


@pytest.mark.parametrize('step', ['refresh', 'set_attributes', 'derive_again'])
def test_a_second_cut_that_fails(model, monkeypatch, step):
    graph = trace(model, torch.rand(2, *SHAPE))
    shrink(model, graph, mask_of(graph))
    graph = trace(model, torch.rand(2, *SHAPE))
    monkeypatch.setattr(SHRINK, step, fail)

    unchanged(model, lambda: shrink(model, graph, mask_of(graph)))


@pytest.mark.parametrize(
    'step',
    [
        'refresh',
        'set_attributes',
        'derive_again',
        'remember',
        'Initialiser.of',
        'Initialiser.apply',
    ],
)
def test_a_widening_that_fails(model, monkeypatch, step):
    graph = trace(model, torch.rand(2, *SHAPE))
    owner, _, name = step.rpartition('.')
    monkeypatch.setattr(getattr(WIDEN, owner) if owner else WIDEN, name, fail)

    unchanged(model, lambda: widen(model, graph, 2))

    monkeypatch.undo()
    widen(model, graph, 2)
    assert model.blocks[0]['first'].out_channels == 40


def test_a_network_that_cannot_be_widened(model):
    unchanged(
        model,
        lambda: build_widened({'type': 'MessyNet'}, (5, 9, 11)),
        GraphError,
        ignore=['torch'],  # the architecture draws its weights
    )


@pytest.mark.parametrize('kind', ['search', 'checkpoint'])
def test_a_rebuild_that_fails(model, kind):
    weights = {k: v[None] for k, v in ToyNet(depth=2).state_dict().items()}
    found = {'state_dict': weights} if kind == 'checkpoint' else weights

    unchanged(model, lambda: mmdhp.rebuild(model, found), ValueError)


# ---------------------------------------------------------------- transitions
def broken(monkeypatch, step):
    """Let one step of a transition fail."""
    if step == 'fine-tune optimizer':
        kind = PruningOptimWrapperConstructor
        monkeypatch.setattr(kind, '_build_plain', fail)
    elif step == 'half of the cut':
        monkeypatch.setattr(SHRINK, 'refresh', fail)
    elif step == 'hooks':
        monkeypatch.setattr('mmdhp.stages.transition.reset_hooks', fail)
    else:
        monkeypatch.setattr(pruning_hook, step, fail)


STEPS = (
    'check_ranks_agree',
    'check_exact',
    'half of the cut',
    'fine-tune optimizer',
    'hooks',
    'start_stage',
    'set_loop_length',
)
METHODS = {'dhp': dict, 'hsn': hsn, 'lwdna': lwdna}


def transition(runner):
    """Bring a run to its transition; what it was before, without gates."""
    hook = hook_of(runner, 'PruningHook')
    found = {}
    original = hook._transition

    def watch(runner):
        pruner, model = hook.pruner, runner.model
        for parameter in model.parameters():
            parameter.grad = None  # a transition clears them
        pruner.leave(model)
        found.update(state_of(model), wrapper=runner.optim_wrapper)
        found['length'] = runner.train_loop.max_iters
        pruner.enter(model)
        original(runner)

    hook._transition = watch
    return found


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('step', STEPS)
def test_a_transition_that_fails(tmp_path, monkeypatch, method, step):
    if method == 'lwdna' and step not in STEPS[2:4]:
        pytest.skip('as for DHP')
    runner = Runner.from_cfg(config(tmp_path, **METHODS[method]()))
    hook = hook_of(runner, 'PruningHook')
    before = transition(runner)
    if step != 'check_ranks_agree':
        run = hook._transition

        def break_then_run(runner):
            broken(monkeypatch, step)
            run(runner)

        hook._transition = break_then_run
    else:

        def disagree(decision):
            if isinstance(decision, torch.Tensor):
                fail()

        monkeypatch.setattr(decisions, step, disagree)

    with pytest.raises(InjectedError):
        runner.train()

    after = state_of(runner.model)
    for key in after:
        assert after[key] == before[key], key
    assert runner.optim_wrapper is before['wrapper']
    assert runner.train_loop.max_iters == before['length']
    assert (hook.state, hook.keep) == ('search', None)
    assert not list(tmp_path.glob('pruned_start*'))
