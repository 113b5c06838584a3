"""One-shot criteria against loops, and the mask they lead to."""

import pytest
import torch
import zoo
from torch import nn
from toy import SHAPE, ToyNet

from mmdhp.graph import GraphError, trace
from mmdhp.methods import OneShot
from mmdhp.methods.importance import filter_norms, norm_scales, taylor_terms


@pytest.fixture
def model():
    return zoo.randomised(ToyNet()).eval()


@pytest.fixture
def graph(model):
    return trace(model, torch.zeros(2, *SHAPE))


def attached(model, **options):
    options = {'target': {'macs': 0.5}, 'min_channels': 1, **options}
    pruner = OneShot(input_shape=SHAPE, **options)
    pruner.attach(model)
    return pruner


def unit_range(graph, name):
    group = next(g for g in graph.groups if g.name == name)
    return slice(group.start, group.stop)


@pytest.mark.parametrize('order', [1, 2])
def test_filter_norms_are_relative_to_their_layer(model, graph, order):
    norms = filter_norms(model, graph, order)
    for name, layers in {
        'blocks.0.first': [model.blocks[0]['first']],
        'stem': [model.stem, model.blocks[0]['second']],
    }.items():
        own = norms[unit_range(graph, name)]
        expected = torch.zeros(len(own)).double()
        for layer in layers:
            loop = [f.double().norm(p=order) for f in layer.weight]
            loop = torch.stack(loop).detach()
            expected += loop / loop.mean() / len(layers)
        torch.testing.assert_close(own, expected)


def test_norm_scales(model, graph):
    scales = norm_scales(model, graph)
    torch.testing.assert_close(
        scales[unit_range(graph, 'stem')],
        model.norm.weight.detach().abs().double(),
    )
    assert scales[unit_range(graph, 'blocks.0.first')].isnan().all()


class Gated(ToyNet):
    """A gate behind every norm and layer; its gradient is the change."""

    def gates(self, inputs):
        one = torch.ones(12, requires_grad=True)
        two = torch.ones(20, requires_grad=True)
        block = self.blocks[0]
        x = self.norm(self.stem(inputs)) * one[:, None, None]
        y = block['first'](x.relu()) * two[:, None, None]
        x = x.relu() + block['second'](y.relu())
        (self.fc(x.mean((2, 3))) ** 3).sum().backward()
        return one.grad, two.grad


def test_taylor_is_the_squared_gradient_of_a_gate():
    model = zoo.randomised(Gated()).eval()
    graph = trace(model, torch.zeros(2, *SHAPE))
    inputs = torch.rand(4, *SHAPE)
    one, two = model.gates(inputs)
    model.zero_grad()
    (model(inputs) ** 3).sum().backward()
    terms = taylor_terms(model, graph)
    for name, gate in {'stem': one, 'blocks.0.first': two}.items():
        expected = gate.double() ** 2
        found = terms[unit_range(graph, name)]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-8)


def test_taylor_needs_gradients(model):
    pruner = attached(model, criterion='taylor')
    with pytest.raises(ValueError, match='No gradient reaches stem'):
        pruner.pull()


@pytest.mark.parametrize('criterion', ['l1', 'l2', 'taylor', 'random'])
@pytest.mark.parametrize('scope', ['uniform', 'global'])
def test_masks_meet_the_target(model, criterion, scope):
    pruner = attached(model, criterion=criterion, scope=scope)
    if criterion == 'taylor':
        model(torch.rand(4, *SHAPE)).square().sum().backward()
        pruner.pull()
    keep = pruner.select()
    assert 0.45 < pruner.ratios(keep)[0] <= 0.5
    shares = [k / n for k, n in pruner.graph.widths(keep).values()]
    if scope == 'uniform':
        sizes = [group.size for group in pruner.graph.groups]
        assert max(shares) - min(shares) <= 1 / min(sizes)


def test_uniform_keeps_the_best_of_every_group(model):
    pruner = attached(model, criterion='l1')
    keep, norms = pruner.select(), filter_norms(model, pruner.graph, 1)
    for group in pruner.graph.groups:
        own = slice(group.start, group.stop)
        assert norms[own][keep[own]].min() > norms[own][~keep[own]].max()


def test_groups_without_a_norm_keep_their_width(model):
    with pytest.warns(UserWarning, match=r'OneShot learns nothing.*first'):
        pruner = attached(model, criterion='bn', target={'macs': 0.7})
    assert [group.name for group in pruner.graph.groups] == ['stem']


def test_nothing_has_a_norm():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1))
    with (
        pytest.warns(UserWarning, match='learns nothing'),
        pytest.raises(GraphError, match='Nothing in Sequential'),
    ):
        attached(model, criterion='bn')


def test_random_masks_follow_the_seed(model):
    masks = [
        attached(model, criterion='random', seed=seed).select()
        for seed in (0, 0, 1)
    ]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'criterion': 'l3'}, r"criterion is 'l3'; there are \('l1'"),
        ({'scope': 'local'}, "scope is 'local'"),
        ({'weights': 'old'}, r"weights is 'old'; there are \('kept'"),
        ({'batches': 0}, 'batches is 0'),
    ],
)
def test_options(model, options, message):
    with pytest.raises(ValueError, match=message):
        attached(model, **options)
