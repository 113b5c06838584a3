"""Widening: sizes, initialisation, and the way back to the baseline."""

import copy

import pytest
import torch
import zoo
from torch import nn
from torch.utils._pytree import tree_leaves

import mmdhp
from mmdhp.graph import GraphError
from mmdhp.surgery import (
    Initialiser,
    baseline_of,
    check_widened,
    widen,
    widened_widths,
)

TOLERANCE = 1e-4  # relative; measured: below 1e-6


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def widened(model, inputs, factor=2):
    """A widened model and its graph, checked."""
    graph = mmdhp.trace(model, inputs)
    widen(model, graph, factor)
    wide = mmdhp.trace(model, inputs)
    check_widened(model, graph, factor, wide)
    return model, graph, wide


@pytest.mark.parametrize('factor', [2, 1.5])
@pytest.mark.parametrize('name', zoo.ZOO)
def test_every_network_that_traces_can_be_widened_and_cut(name, factor):
    model, inputs = zoo.build(name)
    expected = [tensor.shape for tensor in outputs(model, inputs)]
    keys, kinds = model.state_dict().keys(), list(map(type, model.modules()))
    identities = [id(p) for p in model.parameters()]

    model, graph, wide = widened(model, inputs, factor)

    assert [tensor.shape for tensor in outputs(model, inputs)] == expected
    assert zoo.misfits(model) == []
    assert model.state_dict().keys() == keys
    assert list(map(type, model.modules())) == kinds
    assert [id(p) for p in model.parameters()] == identities
    sizes = {group.name: group.size for group in wide.groups}
    assert sizes == {n: round(factor * s) for n, s in widths(graph).items()}
    zoo.randomised(model)
    keep = wide.random_keep(0.6)
    gap = mmdhp.verify(model, wide, keep, inputs, relative=True)
    assert gap <= TOLERANCE


def outputs(model, inputs):
    found = tree_leaves(model.eval()(*inputs))
    return [leaf for leaf in found if isinstance(leaf, torch.Tensor)]


def widths(graph):
    return {group.name: group.size for group in graph.groups}


# Registers a tensor when it runs, so its checkpoints have one more.
@pytest.mark.parametrize('name', [n for n in zoo.ZOO if n != 'CachedTensor'])
def test_a_cut_of_the_widened_fits_the_baseline(name):
    model, inputs = zoo.build(name)
    baseline = copy.deepcopy(model)
    model, _, wide = widened(model, inputs)
    zoo.randomised(model)
    keep = wide.random_keep(0.7)
    mmdhp.shrink(model, wide, keep)

    mmdhp.rebuild(baseline, model.state_dict())

    assert zoo.misfits(baseline) == []
    for ours, theirs in zip(outputs(baseline, inputs), outputs(model, inputs)):
        torch.testing.assert_close(ours, theirs)


def test_the_baseline_is_remembered_by_copies():
    model, inputs = zoo.build('Residual')
    assert baseline_of(model) is None
    model, graph, _ = widened(model, inputs, 3)

    known = baseline_of(copy.deepcopy(model))

    assert known.factor == 3
    assert known.widths == zoo.Residual.expected
    assert known.graph.macs() == graph.macs()
    assert known.graph.shapes == graph.shapes
    assert 'baseline' not in ''.join(model.state_dict())


@pytest.mark.parametrize('factor', [0.5, 0, True, '2', float('inf')])
def test_a_wrong_factor_is_told(factor):
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    with pytest.raises(ValueError, match=f'factor is {factor!r}, but a numb'):
        widen(model, graph, factor)


def test_another_model_is_refused_and_left_alone():
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    mmdhp.shrink(model, graph, graph.random_keep(0.5))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(GraphError, match='not the one that was traced'):
        widen(model, graph, 2)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_other_groups_than_expected_are_listed():
    model, inputs = zoo.build('Shared')
    graph = mmdhp.trace(model, inputs)
    widen(model, graph, 2)
    wide = mmdhp.trace(model, inputs, exclude=['left'])
    with pytest.raises(GraphError, match=r'left \(12 expected, no group fou'):
        check_widened(model, graph, 2, wide)


def test_frozen_parameters_keep_their_width():
    model, inputs = zoo.build('Shared')
    model.left.requires_grad_(False)
    value = model.left.bias.clone()
    graph = mmdhp.trace(model, inputs)
    # `left` reads `stem`, so neither can be wider
    assert widened_widths(model, graph, 2) == {'stem': 7, 'left': 6}
    widen(model, graph, 2)
    assert torch.equal(model.left.bias, value)


# -------------------------------------------------------------- initialisation
class Initialised(nn.Module):
    """Draws its parameters in all the ways that there are."""

    def __init__(self, width=64):
        super().__init__()
        self.default = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.constructor = nn.Conv2d(width, width, 3, padding=1)
        nn.init.kaiming_normal_(self.constructor.weight, mode='fan_in')
        self.method = nn.Conv2d(width, width, 1)
        self.raw = nn.Parameter(torch.randn(1, width, 1, 1) * 0.02 + 5)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 1e-6))
        self.zero = nn.BatchNorm2d(width)
        nn.init.zeros_(self.zero.weight)
        self.fixed = nn.Conv2d(3, 3, 1).requires_grad_(False)
        nn.init.dirac_(self.fixed.weight)
        self.fc = nn.Linear(width, 5)
        self.register_buffer('position', torch.arange(5.0))

    def init_weights(self):
        nn.init.normal_(self.method.weight, std=0.3)

    def forward(self, x):
        x = self.norm(self.default(self.fixed(x)))
        y = self.zero(self.method(self.constructor(x) + self.raw))
        x = (x + self.scale * y).relu()
        return self.fc(x.mean((2, 3))) + self.position


IMAGES = torch.zeros(2, 3, 9, 7)


def test_a_widened_network_is_initialised_as_its_architecture_is():
    model, _, _ = widened(Initialised(), IMAGES)
    other = Initialised(128)
    other.init_weights()
    for (name, ours), theirs in zip(
        model.named_parameters(), other.parameters()
    ):
        assert ours.shape == theirs.shape
        if theirs.numel() < 50:
            continue
        spread = float(theirs.std(unbiased=False))
        own = float(ours.std(unbiased=False))
        assert own == pytest.approx(spread, rel=0.25), name
        assert float(ours.mean()) == pytest.approx(
            float(theirs.mean()), abs=0.1 * spread + 0.02
        )
    assert (model.zero.weight == 0).all()
    assert (model.scale == 1e-6).all()
    assert torch.equal(model.fixed.weight[:, :, 0, 0], torch.eye(3))
    assert torch.equal(model.position, torch.arange(5.0))


def test_copies_of_a_unit_are_drawn_apart():
    model, _, _ = widened(Initialised(), IMAGES)
    rows = model.method.weight.flatten(1)
    assert len(rows.unique(dim=0)) == 128
    assert len(model.raw.unique()) > 100


def test_learning_how_to_initialise_leaves_the_model_as_it_is():
    model = Initialised()
    before = copy.deepcopy(model.state_dict())
    initialiser = Initialiser.of(model)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert set(initialiser.gains) == {'constructor.weight'}
    assert set(initialiser.draws) == {'raw'}
    assert initialiser.constants['scale'] == pytest.approx(1e-6)
    assert initialiser.constants['zero.weight'] == 0


def test_a_seed_makes_weights_that_depend_on_nothing_else():
    first, second = Initialised(), Initialised()
    initialiser = Initialiser.of(first)
    first.norm.running_mean.fill_(3.0)
    torch.manual_seed(1)
    initialiser.apply(first, seed=7)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    initialiser.apply(second, seed=7)
    ours, theirs = first.state_dict(), second.state_dict()
    for key in ours:
        if not key.startswith('fixed'):
            assert torch.equal(ours[key], theirs[key]), key
    initialiser.apply(second, seed=8)
    assert not torch.equal(first.fc.weight, second.fc.weight)


@pytest.fixture
def mmpretrain():
    pytest.importorskip('mmpretrain.models')
    from mmpretrain.registry import MODELS

    return MODELS


@pytest.mark.parametrize(
    'config',
    [
        {'type': 'ResNet', 'depth': 18, 'zero_init_residual': True},
        {'type': 'RegNet', 'arch': 'regnetx_400mf'},
        {'type': 'MobileNetV3', 'arch': 'small'},
        {'type': 'Res2Net', 'depth': 50, 'scales': 4, 'base_width': 26},
        {'type': 'VisionTransformer', 'arch': 'deit-t', 'img_size': 64},
        {'type': 'ShuffleNetV2'},
    ],
    ids=lambda config: config['type'],
)
def test_networks_of_mmpretrain(mmpretrain, config, capfd):
    model = mmpretrain.build(config)
    baseline = mmpretrain.build(config)
    inputs = torch.zeros(2, 3, 64, 64)
    model, graph, wide = widened(model, inputs)
    assert wide.macs() > 1.9 * graph.macs()
    assert not model.is_init  # the Runner is still to do that
    assert 'Initializ' not in ''.join(capfd.readouterr())
    model.init_weights()
    baseline.init_weights()
    wider = dict(model.named_parameters())
    for name, value in baseline.named_parameters():
        constant = bool((value == value.flatten()[0]).all())
        same = bool((wider[name] == wider[name].flatten()[0]).all())
        assert constant == same, name
    zoo.randomised(model)
    keep = wide.random_keep(0.5)
    mmdhp.shrink(model, wide, keep)
    mmdhp.rebuild(baseline, model.state_dict())
    assert str(baseline) == str(model)


def test_regnet_gets_wider_groups_not_more_of_them(mmpretrain):
    model = mmpretrain.build({'type': 'RegNet', 'arch': 'regnetx_4.0gf'})
    model, _, wide = widened(model, torch.zeros(2, 3, 64, 64))
    conv = model.layer3[1].conv2
    assert (conv.groups, conv.in_channels) == (14, 1120)
    assert wide.widths(wide.full())['layer3.1.conv2'] == (80, 80)


def test_pretrained_weights_are_forgotten(mmpretrain):
    init = [
        {'type': 'Kaiming', 'layer': 'Conv2d'},
        {'type': 'Pretrained', 'checkpoint': 'nowhere.pth'},
    ]
    model = mmpretrain.build({'type': 'ResNet', 'depth': 18, 'init_cfg': init})
    model, _, _ = widened(model, torch.zeros(2, 3, 64, 64))
    assert [entry['type'] for entry in model.init_cfg] == ['Kaiming']
    model.init_weights()
