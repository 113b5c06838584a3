"""LW-DNA's scores, floors, targets and fresh weights."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from mmdhp.graph import GraphError, trace
from mmdhp.methods import DHP, LWDNA
from mmdhp.methods.lwdna import classifier_inputs
from mmdhp.registry import PRUNERS
from mmdhp.surgery import baseline_of, remember, shrink, widen

SHAPE = (3, 11, 13)


class Classifier(nn.Module):
    """Two convs and a linear layer that reads one of them twice as wide."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 30, 3)
        self.norm = nn.BatchNorm2d(30)
        self.second = nn.Conv2d(30, 42, 3)
        self.fc = nn.Linear(42, 5)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        return self.fc(self.second(x).relu().mean((2, 3)))


def network(factor=2):
    torch.manual_seed(0)
    model = Classifier()
    if factor != 1:
        widen(model, trace(model, torch.zeros(2, *SHAPE)), factor)
    return model


def attached(factor=2, **kwargs):
    arguments = dict(target=dict(macs=1.0), input_shape=SHAPE)
    pruner = LWDNA(**{**arguments, **kwargs})
    model = network(factor)
    pruner.attach(model)
    return pruner, model


def step(pruner, gradient):
    """A step of the optimizer with some gradient of all latents."""
    latent = pruner.program.latent
    latent.grad = torch.zeros_like(latent)
    latent.grad[: len(gradient)] = gradient
    pruner.after_step(lr=0.1)


def draws(pruner, count=3):
    generator = torch.Generator().manual_seed(1)
    size = pruner.graph.num_units
    return [torch.randn(size, generator=generator) for _ in range(count)]


def per_group(pruner, scores):
    return [scores[g.start : g.stop] for g in pruner.graph.groups]


def test_builds_from_a_config():
    pruner = PRUNERS.build(
        dict(type='mmdhp.LWDNA', target=dict(macs=1.0), input_shape=SHAPE)
    )
    assert isinstance(pruner, LWDNA)
    assert (pruner.score, pruner.normalize) == ('mean_gradient', 'max')
    assert pruner.draws_weights
    assert pruner.limits.min_channels == 0.25
    assert pruner.regularization is None
    assert pruner.search_fraction < DHP.search_fraction


@pytest.mark.parametrize('quantity', ['macs', 'params'])
@pytest.mark.parametrize('ratio', [1.0, 0.6])
def test_the_target_is_a_fraction_of_the_baseline(quantity, ratio):
    pruner, model = attached(target={quantity: ratio})
    baseline = trace(network(1), torch.zeros(2, *SHAPE))
    keep = pruner.select()
    small = shrink(copy.deepcopy(model), pruner.graph, keep)
    cost = dict(
        macs=trace(small, torch.zeros(2, *SHAPE)).macs() / baseline.macs(),
        params=sum(p.numel() for p in small.parameters()) / baseline.params(),
    )
    assert dict(zip(cost, pruner.ratios(keep))) == cost
    assert 0.97 * ratio < cost[quantity] <= ratio


def test_the_budget_is_met_closely():
    torch.manual_seed(0)
    widths = (3, 11, 17, 13, 19, 23, 5)
    model = nn.Sequential(*(nn.Conv2d(*pair, 3) for pair in pairwise(widths)))
    images = torch.zeros(2, 3, 17, 19)
    widen(model, trace(model, images), 2)
    wasted = []
    for target in (0.75, 0.79, 0.83, 0.87):
        pruner = LWDNA(dict(macs=target), images.shape[1:])
        pruner.attach(model)
        assert 0.998 * target <= pruner.ratios(pruner.select())[0] <= target
        pruner.fills_budget = False
        wasted.append(1 - pruner.ratios(pruner.select())[0] / target)
    assert min(wasted) >= 0
    assert max(wasted) > 0.005  # what one threshold for all would lose


def test_dhp_on_a_widened_network_means_the_baseline_too():
    pruner = DHP(dict(macs=0.9), SHAPE)
    pruner.attach(network(2))
    macs, _ = pruner.ratios(pruner.select())
    assert 0.85 < macs <= 0.9
    assert pruner.progress().macs > 2


def test_without_widening_the_target_means_the_network_itself():
    with pytest.warns(UserWarning, match='Classifier is not widened'):
        pruner, _ = attached(1, target=dict(macs=0.6))
    assert pruner.baseline is pruner.graph
    assert 0.55 < pruner.ratios(pruner.select())[0] <= 0.6


def test_another_input_shape_than_that_of_the_baseline_is_refused():
    model = network(2)
    known = baseline_of(model)
    other = dict(vars(known), input_shape=(3, 9, 7))
    remember(model, type(known)(**other))
    pruner = LWDNA(dict(macs=1.0), SHAPE)
    with pytest.raises(ValueError, match=r'\(3, 11, 13\), but .*\(3, 9, 7\)'):
        pruner.attach(model)


# ---------------------------------------------------------------------- scores
def test_mean_gradient_averages_with_sign():
    pruner, _ = attached(normalize=None)
    found = draws(pruner)
    for gradient in found:
        step(pruner, gradient)
    expected = (sum(found) / 3).abs().double()
    torch.testing.assert_close(pruner.scores(), expected, check_dtype=False)


def test_last_gradient_forgets_the_others():
    pruner, _ = attached(score='last_gradient', normalize=None)
    found = draws(pruner)
    for gradient in found:
        step(pruner, gradient)
    assert torch.equal(pruner.scores(), found[-1].abs().double())


def test_latent_scores_see_no_gradient():
    pruner, _ = attached(score='latent', normalize=None)
    expected = pruner.latent.abs().double()
    step(pruner, draws(pruner)[0])
    assert torch.equal(pruner.scores(), expected)


@pytest.mark.parametrize('score', ['mean_gradient', 'latent'])
def test_scores_are_divided_by_the_largest_magnitude_of_their_group(score):
    pruner, _ = attached(score=score)
    raw, _ = attached(score=score, normalize=None)
    gradient = draws(pruner)[0]
    gradient[: pruner.graph.groups[0].size] -= 7  # the largest is negative
    step(pruner, gradient)
    step(raw, gradient)
    for ours, theirs in zip(
        per_group(pruner, pruner.scores()), per_group(raw, raw.scores())
    ):
        torch.testing.assert_close(ours, theirs / theirs.max())
        assert ours.max() == 1


def test_a_group_without_a_gradient_goes_by_its_latents():
    pruner, _ = attached(normalize=None)
    gradient = draws(pruner)[0]
    first = pruner.graph.groups[0]
    gradient[first.start : first.stop] = 0
    step(pruner, gradient)
    scores = pruner.scores()
    own = slice(first.start, first.stop)
    assert torch.equal(scores[own], pruner.latent[own].abs().double())
    assert torch.equal(scores[first.stop :], gradient[first.stop :].abs())


def test_a_real_gradient_reaches_the_score():
    pruner, model = attached(score='last_gradient', normalize=None)
    pruner.push()
    (model(torch.randn(4, *SHAPE)) ** 2).mean().backward()
    pruner.pull()
    expected = pruner.program.latent.grad[: pruner.graph.num_units].clone()
    pruner.after_step(lr=0.1)
    assert torch.equal(pruner.scores(), expected.abs().double())
    assert expected.count_nonzero() > len(expected) / 2


def test_selection_takes_one_threshold_for_all_groups():
    pruner, _ = attached(min_channels=1)
    pruner.fills_budget = False
    step(pruner, draws(pruner)[0])
    keep, scores = pruner.select(), pruner.scores()
    assert scores[keep].min() > scores[~keep].max()


def test_a_diverged_warm_up_is_told():
    pruner, _ = attached()
    gradient = draws(pruner)[0]
    gradient[3] = float('nan')
    step(pruner, gradient)
    with pytest.raises(ValueError, match=r'not finite .*diverged'):
        pruner.select()


def test_the_proximal_step_is_off_unless_asked_for():
    pruner, _ = attached()
    before = pruner.latent.clone()
    step(pruner, draws(pruner)[0])
    assert torch.equal(pruner.latent, before)
    pruner, _ = attached(regularization=2.0)
    before = pruner.latent.clone()
    step(pruner, draws(pruner)[0])
    expected = before.sign() * (before.abs() - 0.2).clamp(min=0)
    torch.testing.assert_close(pruner.latent, expected)


# ---------------------------------------------------------------------- floors
def test_fractions_are_those_of_the_widened_groups():
    pruner, _ = attached(min_channels=0.3)
    assert pruner.floors.tolist() == [18, 25]  # of 60 and 84


def test_the_classifier_has_a_floor_of_its_own():
    pruner, _ = attached(min_channels=0.3, classifier_floor=0.5)
    assert pruner.floors.tolist() == [18, 42]
    pruner.attach(network())
    assert pruner.floors.tolist() == [18, 42]


def test_floors_of_the_user_are_stronger_than_the_classifiers():
    pruner, _ = attached(classifier_floor=0.5, floors={'second': 0.75})
    assert pruner.floors.tolist() == [15, 63]


def test_a_wrong_classifier_floor_is_told():
    with pytest.raises(ValueError, match=r'classifier_floor is 1.5'):
        attached(classifier_floor=1.5)


def test_the_classifier_is_the_linear_layer_with_fixed_outputs():
    class Gated(Classifier):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(42, 42)

        def forward(self, x):
            x = self.second(self.norm(self.first(x)).relu()).mean((2, 3))
            return self.fc(x * self.gate(x).sigmoid())

    model = Gated()
    graph = trace(model, torch.zeros(2, *SHAPE))
    assert classifier_inputs(model, graph) == ['second']
    headless = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3))
    graph = trace(headless, torch.zeros(2, *SHAPE))
    assert classifier_inputs(headless, graph) == []


def test_what_was_not_widened_keeps_its_width():
    model = Classifier()
    images = torch.zeros(2, *SHAPE)
    widen(model, trace(model, images, exclude=['first']), 2)
    pruner = LWDNA(dict(macs=1.0), SHAPE)
    pruner.attach(model)
    assert pruner.graph.widths(pruner.select())['first'] == (30, 30)


def test_floors_that_make_the_target_unreachable_are_named():
    with pytest.raises(GraphError, match=r'smallest .* min_channels=0\.9'):
        attached(min_channels=0.9)


# --------------------------------------------------------------------- weights
@pytest.mark.parametrize('weights', ['new', 'generated'])
def test_training_starts_from(weights):
    pruner, model = attached(weights=weights)
    pruner.push()
    with torch.no_grad():
        model.norm.running_mean.fill_(3.0)
        model.norm.bias.fill_(2.0)
        model.fc.bias.fill_(9.0)
    keep = pruner.select()
    shrink(model, pruner.graph, keep)
    before = copy.deepcopy(model.state_dict())

    pruner.after_cut(model, keep)

    after = model.state_dict()
    same = {key for key in before if torch.equal(before[key], after[key])}
    if weights == 'generated':
        assert same == set(before)
        return
    assert same == {'norm.weight', 'norm.running_var'} | {
        'norm.num_batches_tracked'
    }
    assert (model.norm.running_mean == 0).all()
    assert (model.norm.bias == 0).all()
    bound = model.second.weight[0].numel() ** -0.5  # PyTorch's own
    assert 0.8 * bound < model.second.weight.abs().max() <= bound


def test_new_weights_depend_on_the_mask_only():
    first, model = attached()
    second, other = attached()
    keep = first.select()
    shrink(model, first.graph, keep)
    shrink(other, second.graph, keep)
    first.after_cut(model, keep)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    with torch.no_grad():
        other.fc.weight.fill_(1.0)
    second.after_cut(other, keep)
    assert torch.equal(state, torch.get_rng_state())
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            model.state_dict().values(), other.state_dict().values()
        )
    )


# ----------------------------------------------------------------------- state
def test_state_restores_the_scores():
    pruner, _ = attached()
    gradients = draws(pruner)
    for gradient in gradients[:2]:
        step(pruner, gradient)
    other, _ = attached()
    other.load_state_dict(copy.deepcopy(pruner.state_dict()))
    for each in (pruner, other):
        step(each, gradients[2])
    assert torch.equal(other.scores(), pruner.scores())
    assert torch.equal(other.select(), pruner.select())


def test_the_search_lasts_as_long_as_the_config_says():
    pruner, _ = attached()
    progress = pruner.progress()
    assert progress.reached is None
    assert 0.99 < progress.macs <= 1.0


@pytest.mark.parametrize(
    ('key', 'value'),
    [('score', 'gradient'), ('normalize', 'min'), ('weights', 'old')],
)
def test_unknown_choices_are_named(key, value):
    with pytest.raises(ValueError, match=f'{key} is {value!r}; there are'):
        LWDNA(dict(macs=1.0), SHAPE, **{key: value})
