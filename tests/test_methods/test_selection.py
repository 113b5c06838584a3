"""Targets, floors and the exact global threshold."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import mmdhp
from mmdhp.costs import MACs
from mmdhp.graph import GraphError
from mmdhp.methods import Target, select, threshold_mask
from mmdhp.methods.selection import check_finite, rank_in_group


@pytest.fixture
def graph():
    net = nn.Sequential(
        nn.Conv2d(3, 10, 3), nn.Conv2d(10, 14, 3), nn.Conv2d(14, 5, 3)
    )
    return mmdhp.trace(net, torch.zeros(2, 3, 11, 13))


@pytest.fixture
def scores(graph):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(graph.num_units, generator=generator)


def floors_of(graph, floor):
    return torch.full((len(graph.groups),), floor)


def test_target_reads_its_quantities():
    assert Target.parse(dict(macs=0.4)) == Target((('macs', 0.4),))
    target = Target.parse(dict(params=1, latency=0.25))
    assert target.as_dict() == {'params': 1.0, 'latency': 0.25}
    assert (target.quantity, target.ratio) == ('params', 1.0)
    assert str(target) == '100.00% of the parameters and 25.00% of the latency'


@pytest.mark.parametrize('ratio', [0, -0.5, 1.5, float('nan')])
def test_target_outside_its_range(ratio):
    with pytest.raises(ValueError, match=f'target macs is {ratio}'):
        Target.parse(dict(macs=ratio))


@pytest.mark.parametrize('ratio', [True, '0.5', None])
def test_target_that_is_no_number(ratio):
    with pytest.raises(TypeError, match=f'target macs is {ratio!r}'):
        Target.parse(dict(macs=ratio))


def test_target_of_unknown_quantity():
    with pytest.raises(KeyError, match="'flops' is unknown; there are macs,"):
        Target.parse(dict(macs=0.5, flops=0.5))


@pytest.mark.parametrize('target', [0.5, {}, ['macs']])
def test_target_that_names_no_quantity(target):
    with pytest.raises(TypeError, match='at least one quantity is needed'):
        Target.parse(target)


def test_rank_in_group_orders_each_group_by_itself(graph, scores):
    rank = rank_in_group(scores, graph)
    for group in graph.groups:
        own = scores[group.start : group.stop]
        order = torch.argsort(own, descending=True)
        expected = torch.empty_like(order)
        expected[order] = torch.arange(len(order))
        assert torch.equal(rank[group.start : group.stop], expected)


def test_threshold_mask_keeps_the_best_of_an_empty_group(graph, scores):
    scores[graph.groups[0].start : graph.groups[0].stop] *= 1e-6
    keep = threshold_mask(scores, graph, 1e-3, floors_of(graph, 3))
    first = graph.groups[0]
    best = scores[first.start : first.stop].topk(3).indices.sort().values
    kept = keep[first.start : first.stop].nonzero()[:, 0]
    assert torch.equal(kept, best)
    assert keep[first.stop :].all()


@pytest.mark.parametrize('ratio', [0.9, 0.5, 0.37, 0.2])
def test_selection_is_within_one_unit_of_the_budget(graph, scores, ratio):
    floors = floors_of(graph, 2)
    budget = ratio * graph.macs()
    keep = select(scores, graph, graph.macs, budget, floors)
    assert graph.macs(keep) <= budget
    removed = (~keep).nonzero()[:, 0]
    last = removed[scores[removed].argmax()]
    more = keep.clone()
    more[last] = True
    assert graph.macs(more) > budget


def test_selection_is_one_global_threshold(graph, scores):
    floors = floors_of(graph, 1)
    keep = select(scores, graph, graph.macs, 0.5 * graph.macs(), floors)
    assert scores[keep].min() > scores[~keep].max()


def test_selection_keeps_everything_at_target_one(graph, scores):
    floors = floors_of(graph, 4)
    assert select(scores, graph, graph.macs, graph.macs(), floors).all()


def test_ties_go_by_position(graph):
    floors = floors_of(graph, 1)
    scores = torch.ones(graph.num_units)
    keep = select(scores, graph, graph.macs, 0.6 * graph.macs(), floors)
    again = select(scores, graph, graph.macs, 0.6 * graph.macs(), floors)
    assert torch.equal(keep, again)
    assert graph.macs(keep) <= 0.6 * graph.macs()


def test_divisor_rounds_kept_channels_up(graph, scores):
    floors = floors_of(graph, 1)
    budget = 0.6 * graph.macs()
    keep = select(scores, graph, graph.macs, budget, floors, divisor=4)
    for kept, total in graph.widths(keep).values():
        assert kept % 4 == 0 or kept == total
    assert graph.macs(keep) <= budget


def test_divisor_never_goes_below_a_floor(graph, scores):
    floors = floors_of(graph, 3)
    scores[graph.groups[0].start : graph.groups[0].stop] *= 1e-3
    budget = 0.25 * graph.macs()
    keep = select(scores, graph, graph.macs, budget, floors, divisor=4)
    kept = [kept for kept, _ in graph.widths(keep).values()]
    assert kept[0] == 4
    assert min(kept) >= 3


def test_divisor_leaves_no_block_that_would_fit(graph, scores):
    floors = floors_of(graph, 1)
    budget = 0.7 * graph.macs()
    keep = select(scores, graph, graph.macs, budget, floors, divisor=4)
    for group in graph.groups:
        own = slice(group.start, group.stop)
        if keep[own].all():
            continue
        best = torch.where(keep[own], -1.0, scores[own]).topk(
            min(4, int((~keep[own]).sum()))
        )
        wider = keep.clone()
        wider[own][best.indices] = True
        assert graph.macs(wider) > budget


def test_unreachable_target_says_what_is_reachable(graph, scores):
    floors = floors_of(graph, 9)
    least = threshold_mask(scores, graph, 2.0, floors)
    reachable = graph.macs(least) / graph.macs()
    with pytest.raises(GraphError, match=f'widths {reachable:.4g} of the'):
        select(scores, graph, graph.macs, 0.1 * graph.macs(), floors)


def test_scores_that_are_not_finite_name_the_group(graph, scores):
    scores[graph.groups[1].start] = float('nan')
    with pytest.raises(ValueError, match=r'scores of 1 groups .*\(1\)'):
        check_finite(scores, graph)


@pytest.fixture
def chain():
    """A deep chain whose cheapest unit costs more than 0.1 % of it."""
    widths = (3, 11, 17, 13, 19, 23, 5)
    net = nn.Sequential(*(nn.Conv2d(*pair, 3) for pair in pairwise(widths)))
    return mmdhp.trace(net, torch.zeros(2, 3, 17, 19))


@pytest.mark.parametrize('ratio', [0.31, 0.52, 0.77])
def test_a_filled_budget_is_met_closely(chain, ratio):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(chain.num_units, generator=generator)
    floors = floors_of(chain, 3)
    budget = ratio * chain.macs()
    arguments = (scores, chain, chain.macs, budget, floors)

    filled, coarse = select(*arguments, fill=True), select(*arguments)

    assert 0.997 * budget <= chain.macs(filled) <= budget
    assert chain.macs(coarse) < chain.macs(filled)
    assert min(kept for kept, _ in chain.widths(filled).values()) >= 3
    for group in chain.groups:  # the best of every group, as ever
        own = slice(group.start, group.stop)
        kept = filled[own]
        if not kept.all():
            assert scores[own][kept].min() > scores[own][~kept].max()
    assert int((filled != coarse).sum()) < chain.num_units / 4


def test_a_filled_budget_that_fits_all_keeps_all(chain):
    scores = torch.rand(chain.num_units)
    floors = floors_of(chain, 1)
    keep = select(
        scores, chain, chain.macs, chain.macs() * 1.2, floors, fill=True
    )
    assert keep.all()


def test_the_message_speaks_of_the_given_original(graph, scores):
    floors = floors_of(graph, 9)
    full = 4 * graph.macs()
    with pytest.raises(GraphError, match=r'target 0\.025 cannot .* 0\.\d+ of'):
        select(scores, graph, graph.macs, 0.025 * full, floors, full=full)


@pytest.mark.parametrize('divisor', [1, 4])
@pytest.mark.parametrize('ratio', [0.3, 0.6, 0.9])
def test_what_cannot_fit_is_not_tried(ratio, divisor):
    widths = [3, *range(20, 60)]
    net = nn.Sequential(*(nn.Conv2d(*pair, 1) for pair in pairwise(widths)))
    graph = mmdhp.trace(net, torch.zeros(2, 3, 2, 3))
    cost = MACs(graph, graph, ('weight',))
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(graph.num_units, generator=generator)
    tried = []

    def value(keep):
        tried.append(keep)
        return cost.value(keep)

    def chosen(**options):
        tried.clear()
        return select(
            scores,
            graph,
            value,
            ratio * cost.full,
            floors_of(graph, 1),
            divisor,
            fill=True,
            **options,
        )

    plain, times = chosen(), len(tried)
    assert torch.equal(chosen(rises=cost.rises), plain)
    assert len(tried) <= times - len(graph.groups) / 2
