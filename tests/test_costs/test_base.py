"""What all costs promise of further units."""

import pytest
import torch
import zoo

import mmdhp
from mmdhp.costs import MACs, Memory, Params

NETWORKS = [zoo.Shared, zoo.Residual, zoo.Concat, zoo.Depthwise]


def costs_of(graph):
    return [
        MACs(graph, graph, ('weight', 'norm', 'act')),
        Params(graph, graph),
        Memory(graph, graph),
    ]


def drawn(graph, share):
    keep = torch.rand(graph.num_units) < share
    for group in graph.groups:
        keep[group.start] = True
    return keep


@pytest.mark.parametrize('network', NETWORKS)
def test_units_of_a_group_add_at_least_their_rises(network):
    net = network()
    graph = mmdhp.trace(net, torch.zeros(*net.shape))
    for cost in costs_of(graph):
        keep = drawn(graph, 0.5)
        rises = cost.rises(keep)
        assert rises.max() > 0
        for group in graph.groups:
            own = slice(group.start, group.stop)
            wider = keep.clone()
            wider[own] |= drawn(graph, 0.6)[own]
            new = wider & ~keep
            added = cost.value(wider) - cost.value(keep)
            assert added >= rises[new].sum() - 1e-6


def test_the_rise_of_one_unit_of_macs_is_exact():
    net = zoo.Shared()
    graph = mmdhp.trace(net, torch.zeros(*net.shape))
    keep = drawn(graph, 0.5)
    cost = MACs(graph, graph, ('weight',))
    unit = int(torch.nonzero(~keep)[0])
    wider = keep.clone()
    wider[unit] = True
    rise = cost.rises(keep)[unit].item()
    assert rise == cost.value(wider) - cost.value(keep)


class Steps(Params):
    """A cost that is not convex: nothing is known beforehand."""

    convex = False


def test_nothing_is_said_of_costs_that_are_not_convex():
    net = zoo.Shared()
    graph = mmdhp.trace(net, torch.zeros(*net.shape))
    rises = Steps(graph, graph).rises(graph.full())
    assert rises.shape == (graph.num_units,)
    assert not rises.any()
