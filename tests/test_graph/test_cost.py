"""Closed-form cost against counting."""

import pytest
import torch
import zoo
from torch import nn

import mmdhp
from mmdhp.graph import GraphError

# Products of two feature maps are no weights; the counter counts them.
ATTENTION = {name for name in zoo.ZOO if 'Attention' in name}
UNCOUNTED = ATTENTION | {'Deformable'}  # by PyTorch's counter
COUNTED = [name for name in zoo.ZOO if name not in UNCOUNTED]


@pytest.mark.parametrize('name', COUNTED)
def test_predicted_macs_are_those_of_the_shrunk_model(name):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    assert graph.macs() == zoo.counted_macs(model, inputs)
    keep = graph.random_keep(0.6, seed=1)
    mmdhp.shrink(model, graph, keep)
    assert graph.macs(keep) == zoo.counted_macs(model, inputs) < graph.macs()


@pytest.mark.parametrize('name', zoo.ZOO)
def test_predicted_params_are_those_of_the_shrunk_model(name):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    keep = graph.random_keep(0.6, seed=1)
    for mask in (graph.full(), keep):
        assert graph.params(mask) == (
            mmdhp.shrink(model, graph, mask)
            and sum(p.numel() for p in model.parameters())
        )


def test_each_kind_counts_as_published():
    model = nn.Sequential(
        nn.Conv2d(3, 5, (3, 1)), nn.BatchNorm2d(5), nn.ReLU()
    )
    model.append(nn.Conv2d(5, 4, 1))
    graph = mmdhp.trace(model, torch.zeros(2, 3, 9, 8))
    area = 7 * 8
    weight, norm, act = 35 * 3 * area // 7 * 1, 2 * 5 * area, 5 * area
    weight = (3 * 5 * 3 + 5 * 4) * area
    assert graph.macs() == graph.macs(kinds=('weight',)) == weight
    assert graph.macs(kinds=('norm',)) == norm
    assert graph.macs(kinds=('act',)) == act
    assert graph.macs(kinds=('weight', 'norm', 'act')) == weight + norm + act
    assert [term[:2] for term in graph.layer_terms(('norm',))] == [
        ('norm', '1')
    ]


def test_an_activation_is_charged_once_per_module():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.act = nn.PReLU(3)

        def forward(self, x):
            return self.act(self.conv(self.act(self.conv(x))))

    graph = mmdhp.trace(Twice(), torch.zeros(2, 3, 9, 8))
    assert graph.macs(kinds=('act',)) == 3 * 9 * 8
    assert graph.macs() == 2 * 3 * 3 * 9 * 9 * 8


def test_soft_gates_are_differentiable_and_meet_the_masks():
    graph = mmdhp.trace(*zoo.build('Residual'))
    keep = graph.random_keep(0.5, seed=2)
    gates = keep.double().requires_grad_()
    for cost in (graph.macs, graph.params):
        assert cost(gates).item() == cost(keep)
        assert cost(gates).dtype == torch.float64
        assert torch.autograd.gradcheck(cost, gates)


def test_widths_tell_kept_of_total():
    graph = mmdhp.trace(*zoo.build('Residual'))
    keep = graph.random_keep(0.5)
    assert graph.widths(keep) == {
        'stem': (4, 8),
        'first': (3, 6),
        'second': (2, 5),
    }


def test_the_summary_names_groups_and_cost():
    graph = mmdhp.trace(*zoo.build('Shared'))
    assert repr(graph).startswith('ChannelGraph(2 groups, 13 units, ')


def test_random_masks_depend_on_the_seed_alone():
    graph = mmdhp.trace(*zoo.build('Residual'))
    state = torch.get_rng_state()
    first = graph.random_keep(0.5, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, graph.random_keep(0.5, seed=3))
    assert not torch.equal(first, graph.random_keep(0.5, seed=4))
    assert graph.random_keep(0.01).sum() == len(graph.groups)


@pytest.mark.parametrize('ratio', [0, 1.5])
def test_a_ratio_out_of_range_is_an_error(ratio):
    graph = mmdhp.trace(*zoo.build('Residual'))
    with pytest.raises(ValueError, match=f'ratio is {ratio}'):
        graph.random_keep(ratio)


def test_an_unknown_kind_is_an_error():
    graph = mmdhp.trace(*zoo.build('Residual'))
    with pytest.raises(ValueError, match=r"unknown kinds \['bias'\]"):
        graph.macs(kinds=('weight', 'bias'))


@pytest.mark.parametrize(
    ('keep', 'match'),
    [
        (torch.ones(18, dtype=torch.bool), r'shape \(18,\).* the 19 units'),
        (torch.ones(19), r'torch.float32 of shape \(19,\)'),
        (torch.zeros(19, dtype=torch.bool), 'in stem, first, second;'),
    ],
)
def test_a_mask_that_does_not_fit_is_an_error(keep, match):
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    for use in (
        lambda: graph.check_keep(keep),
        lambda: graph.positions(keep),
        lambda: mmdhp.shrink(model, graph, keep),
        lambda: mmdhp.verify(model, graph, keep, inputs),
    ):
        with pytest.raises(ValueError, match=match) as error:
            use()
        assert not isinstance(error.value, GraphError)
