"""Operators alone run as in the network that was cut."""

import pytest
import torch
import zoo
from torch import nn

import mmdhp
from mmdhp.costs.operators import operators_of
from mmdhp.graph import GraphError, record_calls

CPU = torch.device('cpu')


def operators(graph, activity=None):
    return operators_of(
        graph.activity, activity or graph.activity, graph.num_units
    )


# Constants whose sizes are arguments, and one head that needs no copies.
OTHERWISE = {'FollowingConstants', 'MultiheadAttention'}
NAMES = [name for name in zoo.ZOO if name not in OTHERWISE]


def widths_of(operator, graph, keep):
    gates = graph.extend(keep)
    return [int(gates[list(units)].sum()) for units in operator.variables]


@pytest.mark.parametrize('name', NAMES)
def test_shapes_are_those_of_the_cut_network(name):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    keep = graph.random_keep(0.6, seed=1)
    before = operators(graph)
    mmdhp.shrink(model, graph, keep)
    after = operators(mmdhp.trace(model, inputs))
    assert len(before) == len(after) > 0
    for old, new in zip(before, after):
        widths = widths_of(old, graph, keep)
        for index, record in enumerate(new.call.inputs):
            assert old.shape(index, widths) == record.shape, old.signature


@pytest.mark.parametrize('name', NAMES)
def test_operators_run_alone(name):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    keep = graph.random_keep(0.6, seed=1)
    found = operators(graph)
    mmdhp.shrink(model, graph, keep)
    after = operators(mmdhp.trace(model, inputs))
    for old, new in zip(found, after):
        made = old.prepare(widths_of(old, graph, keep), CPU)()
        first = made[0] if isinstance(made, (tuple, list)) else made
        assert tuple(first.shape) == new.call.outputs[0].shape, old.signature


def test_views_and_weights_take_no_time():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)
            self.fc = nn.Linear(8, 4)

        def forward(self, x):
            x = self.conv(x).relu_().flatten(2).transpose(1, 2)
            return self.fc(x + self.fc.weight.abs().sum())

    graph = mmdhp.trace(Net(), torch.zeros(2, 3, 7, 6))
    names = [own.call.operator.split('.')[1] for own in operators(graph)]
    assert names[:2] == ['convolution', 'relu_']
    assert not {'view', 'transpose', 't', 'abs', 'sum'} & set(names)


def test_equal_layers_have_one_signature():
    net = nn.Sequential(*(nn.Conv2d(5, 5, 3, padding=1) for _ in range(4)))
    net.append(nn.Conv2d(5, 5, 3))
    found = operators(mmdhp.trace(net, torch.zeros(2, 5, 7, 6)))
    signatures = [own.signature for own in found]
    assert len(signatures) == 5
    assert signatures[1] == signatures[2]
    assert len(set(signatures)) == 3  # the first, others, the last
    assert len({own.variables for own in found[1:3]}) == 2


def test_sizes_come_from_another_pass():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    graph = mmdhp.trace(net, torch.zeros(2, 3, 7, 6))
    shapes = record_calls(net, torch.zeros(1, 3, 11, 13))
    found = operators(graph, shapes)
    assert found[1].shape(0, [5]) == (1, 5, 9, 11)


def test_another_path_through_the_model_is_an_error():
    class Sizes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)
            self.head = nn.Conv2d(8, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            return self.head(y if x.shape[2] < 10 else y.relu())

    graph = mmdhp.trace(Sizes(), torch.zeros(2, 3, 7, 6))
    shapes = record_calls(Sizes(), torch.zeros(1, 3, 11, 13))
    with pytest.raises(GraphError, match=r'\(3 calls, not 2\)'):
        operators(graph, shapes)
