"""DHP's proximal step, freeze rule, stop rule and constants."""

import pytest
import torch
from torch import nn

from mmdhp.graph import GraphError
from mmdhp.methods import DHP
from mmdhp.registry import MODELS, PRUNERS

SHAPE = (3, 11, 13)


def network():
    return nn.Sequential(
        nn.Conv2d(3, 10, 3), nn.Conv2d(10, 14, 3), nn.Conv2d(14, 5, 3)
    )


def attached(**kwargs):
    torch.manual_seed(0)
    arguments = dict(target=dict(macs=0.5), input_shape=SHAPE)
    pruner = DHP(**{**arguments, **kwargs})
    pruner.attach(network())
    return pruner


def test_builds_from_a_config():
    pruner = PRUNERS.build(
        dict(type='mmdhp.DHP', target=dict(macs=0.3), input_shape=SHAPE)
    )
    assert isinstance(pruner, DHP)
    assert (pruner.threshold, pruner.stop_limit) == (5e-3, 0.02)
    assert (pruner.limits.min_channels, pruner.embedding_dim) == (4, 8)


def test_l1_step_is_soft_thresholding():
    pruner = attached(regularization=3.0)
    before = pruner.latent.clone()
    pruner.after_step(lr=0.1)
    expected = before.sign() * (before.abs() - 0.3).clamp(min=0)
    torch.testing.assert_close(pruner.latent, expected)


def test_l2_step_shrinks_each_group_as_one_vector():
    pruner = attached(regularization=3.0, regularizer='l2')
    before = pruner.latent.clone()
    pruner.after_step(lr=0.1)
    for group in pruner.graph.groups:
        old = before[group.start : group.stop]
        expected = (1 - 0.3 / max(old.norm(), 0.3)) * old
        new = pruner.latent[group.start : group.stop]
        torch.testing.assert_close(new, expected)


def test_frozen_latents_are_never_shrunk():
    pruner = attached(regularization=3.0)
    frozen = pruner.program.latent[pruner.graph.num_units :].clone()
    pruner.after_step(lr=0.1)
    now = pruner.program.latent[pruner.graph.num_units :]
    assert torch.equal(now, frozen)
    assert len(now) == 3 + 5 + 1  # image, output, positions of no layer


def test_a_group_at_its_floor_is_left_alone():
    pruner = attached(regularization=1.0, min_channels=4)
    first = pruner.graph.groups[0]
    with torch.no_grad():
        pruner.latent[first.start : first.stop] = 1e-4
        pruner.latent[first.start : first.start + 4] = 0.5
    before = pruner.latent.clone()
    pruner.after_step(lr=0.1)
    own = slice(first.start, first.stop)
    assert torch.equal(pruner.latent[own], before[own])
    assert (pruner.latent[first.stop :] != before[first.stop :]).all()


def test_after_step_writes_the_weights():
    pruner = attached(regularization=1.0)
    pruner.push()
    model = pruner.program.weights[0].parameter
    before = model.clone()
    pruner.after_step(lr=0.1)
    assert not torch.equal(model, before)


def test_progress_counts_latents_at_the_threshold():
    pruner = attached()
    with torch.no_grad():
        pruner.latent.fill_(1.0)
        pruner.latent[:6] = 5e-3  # at the threshold: kept
        pruner.latent[2:4] = 4.9e-3
    progress = pruner.progress()
    keep = torch.ones(24, dtype=torch.bool)
    keep[2:4] = False
    assert progress.macs == pruner.graph.macs(keep) / pruner.graph.macs()
    assert progress.params == pruner.graph.params(keep) / pruner.graph.params()
    assert not progress.reached


@pytest.mark.parametrize(('limit', 'reached'), [(0.02, False), (0.5, True)])
def test_stop_rule_is_one_sided(limit, reached):
    pruner = attached(target=dict(macs=0.6), stop_limit=limit)
    with torch.no_grad():
        pruner.latent.fill_(1.0)
        pruner.latent[:2] = 0
    assert pruner.progress().macs > 0.62
    assert pruner.progress().reached is reached


def test_stop_rule_does_not_mind_going_too_far():
    pruner = attached(target=dict(macs=0.6), stop_limit=0.02)
    with torch.no_grad():
        pruner.latent.fill_(1e-6)
    assert pruner.progress().macs < 0.5
    assert pruner.progress().reached


def test_progress_of_a_diverged_search_is_an_error():
    pruner = attached()
    with torch.no_grad():
        pruner.latent[3] = float('nan')
    with pytest.raises(ValueError, match='not finite .*diverged'):
        pruner.progress()


def test_selection_meets_the_target_by_latent_magnitude():
    pruner = attached(target=dict(macs=0.5), min_channels=1)
    keep = pruner.select()
    magnitude = pruner.latent.abs()
    assert magnitude[keep].min() > magnitude[~keep].max()
    assert 0.4 < pruner.ratios(keep)[0] <= 0.5


def test_parameters_can_be_the_target():
    pruner = attached(target=dict(params=0.3))
    assert 0.2 < pruner.ratios(pruner.select())[1] <= 0.3


@pytest.mark.parametrize('regularizer', ['l1', 'l2'])
def test_planned_regularization_reaches_the_target_in_time(regularizer):
    pruner = attached(min_channels=1, regularizer=regularizer)
    pruner.plan(steps=50, lr=0.2)
    steps = 0
    while not pruner.progress().reached:
        pruner.after_step(lr=0.2)
        steps += 1
    assert 30 <= steps <= 41


def test_a_search_without_steps_needs_no_regularization():
    pruner = attached()
    pruner.plan(steps=0, lr=0.0)
    assert not pruner.regularization


def undo(share):
    """Gradients that undo a share of every proximal step."""
    return lambda latent, before, first: latent.lerp_(before, share)


def pull_back(force):
    """Gradients that pull to where the latents were, as a spring does."""
    return lambda latent, before, first: latent.lerp_(first, force)


@pytest.mark.parametrize(
    'resist', [undo(0.0), undo(0.5), undo(0.8), pull_back(0.01)]
)
def test_plans_follow_what_is_left(resist):
    """Resisting gradients neither delay the target nor make λ swing."""
    pruner = attached(min_channels=1)
    first = pruner.latent.clone()
    ratios = []
    for done in range(100):
        progress = pruner.progress()
        if progress.reached:
            break
        if done % 5 == 0:
            ratios.append(progress.macs)
            pruner.plan(steps=100 - done, lr=0.2)
        before = pruner.latent.clone()
        pruner.after_step(lr=0.2)
        resist(pruner.latent, before, first)
    assert 60 <= done <= 95
    assert all(b <= a + 0.02 for a, b in zip(ratios, ratios[1:]))


def test_given_regularization_is_not_planned():
    pruner = attached(regularization=0.25)
    pruner.plan(steps=50, lr=0.2)
    assert pruner.regularization == 0.25


def test_state_restores_latents_and_regularization():
    pruner = attached()
    pruner.plan(steps=50, lr=0.2)
    pruner.after_step(lr=0.2)
    other = attached()
    other.load_state_dict(pruner.state_dict())
    assert torch.equal(other.latent, pruner.latent)
    assert other.regularization == pruner.regularization


def test_state_of_another_method_is_refused():
    pruner = attached()
    state = {**pruner.state_dict(), 'method': 'HSN'}
    with pytest.raises(ValueError, match="written by 'HSN'.*names 'DHP'"):
        pruner.load_state_dict(state)


def test_state_of_another_architecture_is_refused():
    pruner = attached()
    state = attached(embedding_dim=3).state_dict()
    with pytest.raises(ValueError, match=r"fit this model: \['banks.9.b1'"):
        pruner.load_state_dict(state)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('regularization', -1.0),
        ('regularization', float('nan')),
        ('threshold', float('inf')),
        ('stop_limit', -0.1),
        ('embedding_dim', 0),
        ('divisor', 0),
        ('regularizer', 'l3'),
    ],
)
def test_numbers_out_of_range_are_named(key, value):
    with pytest.raises(ValueError, match=f'{key} is {value!r}'):
        DHP(dict(macs=0.5), SHAPE, **{key: value})


def test_unreachable_target_is_told_at_attach():
    with pytest.raises(GraphError, match='target 0.01 cannot be reached'):
        attached(target=dict(macs=0.01))


def test_wrong_input_shape_is_told_at_attach():
    with pytest.raises(GraphError, match=r'cannot run .*\(2, 4, 11, 13\)'):
        attached(input_shape=(4, 11, 13))


def test_nothing_to_prune_is_told_at_attach():
    pruner = DHP(dict(macs=0.5), (3, 11, 13))
    with pytest.raises(GraphError, match='Nothing in Conv2d can be pruned'):
        pruner.attach(nn.Conv2d(3, 5, 3))


class Functional(nn.Module):
    """Its inner layers keep their weights in no conv module."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.one = nn.Parameter(torch.randn(8, 6, 1, 1))
        self.two = nn.Parameter(torch.randn(7, 8, 1, 1))
        self.three = nn.Parameter(torch.randn(5, 7, 1, 1))

    def forward(self, x):
        x = nn.functional.conv2d(self.first(x), self.one)
        x = nn.functional.conv2d(x, self.two)
        return nn.functional.conv2d(x, self.three)


def test_channels_that_nothing_is_learned_about_keep_their_width():
    pruner = DHP(dict(macs=0.9), (3, 7, 5), min_channels=1)
    with pytest.warns(UserWarning, match='DHP learns nothing about'):
        pruner.attach(Functional())
    assert [g.name for g in pruner.graph.groups] == ['first']
    assert 'excluded' in {g.code for g in pruner.graph.frozen}


RESNET = 'CIFARResNet'

# Source: the authors' released code, instantiated; MACs in G by its own
# counters (restoration: conv, linear, norm and activation; classification:
# without activation), parameters in thousands, all trainable numbers of the
# search stage in millions.
TIED = [('head*', 'upsampler.*')]
PAPER = [
    ('SRResNet', {}, (3, 128, 128), TIED, 19, 32.826720, 1535.638, 16.628),
    ('EDSR', {}, (3, 128, 128), TIED, 11, 90.370884, 3696.667, 40.221),
    ('DnCNN', {}, (1, 128, 128), (), 18, 9.126806, 557.057, 6.038),
    (RESNET, {'depth': 20}, SHAPE, (), 13, 0.041215, 272.474, 2.984),
    (RESNET, {'depth': 56}, SHAPE, (), 31, 0.126837, 855.770, 9.310),
    (RESNET, {'depth': 110}, SHAPE, (), 77, 0.171895, 1147.738, 20.574),
    (RESNET, {'depth': 164}, SHAPE, (), 113, 0.254176, 1704.154, 30.453),
]


class WithHead(nn.Module):
    """A backbone with the classifier of the papers."""

    def __init__(self, backbone, classes=10):
        super().__init__()
        self.backbone = backbone
        with torch.no_grad():
            width = backbone(torch.zeros(2, 3, 32, 32))[-1].shape[1]
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(self.backbone(x)[-1].mean((2, 3)))


@pytest.mark.parametrize(
    ('name', 'config', 'shape', 'tie', 'vectors', 'macs', 'params', 'search'),
    PAPER,
    ids=[f'{row[0]}{row[1].get("depth", "")}' for row in PAPER],
)
def test_published_constants(
    name, config, shape, tie, vectors, macs, params, search
):
    model = MODELS.build(dict(type=f'mmdhp.{name}', **config))
    kinds = ('weight', 'norm', 'act')
    if name == 'CIFARResNet':
        model, shape, kinds = WithHead(model), (3, 32, 32), kinds[:2]
    pruner = DHP(dict(macs=0.5), shape, groups=tie, kinds=kinds)
    pruner.attach(model)
    graph, program = pruner.graph, pruner.program
    used = torch.zeros(len(program.latent), dtype=torch.bool)
    for weight in program.weights:
        used[weight.first] = used[weight.second] = True
    groups = graph.groups + graph.frozen
    found = sum(bool(used[g.start : g.stop].any()) for g in groups)
    assert found == vectors
    assert round(graph.macs(kinds=kinds) / 1e9, 6) == macs
    assert round(graph.params() / 1e3, 3) == params
    generated = {id(w.parameter) for w in program.weights}
    ordinary = sum(
        p.numel()
        for p in model.parameters()
        if p.requires_grad and id(p) not in generated
    )
    total = ordinary + sum(p.numel() for p in program.parameters())
    assert total / 1e6 == pytest.approx(search, abs=1e-3)
