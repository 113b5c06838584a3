"""Floors, removable fractions, and how they meet a divisor and a target."""

import random

import pytest
import torch
import zoo
from torch import nn

import mmdhp
from mmdhp.graph import GraphError
from mmdhp.methods import DHP, Limits, select

SHAPE = (3, 13, 11)


class Net(nn.Module):
    """Groups of 10, 14, 20 and 100 units, one of them of two layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3)
        self.norm = nn.BatchNorm2d(10)
        self.body = nn.Sequential(
            nn.Conv2d(10, 14, 1), nn.ReLU(), nn.Conv2d(14, 10, 1)
        )
        self.up = nn.ConvTranspose2d(10, 20, 2)
        self.hidden = nn.Linear(20, 100)
        self.head = nn.Linear(100, 5)

    def forward(self, x):
        x = self.norm(self.stem(x))
        x = self.up(x + self.body(x)).mean((2, 3))
        return self.head(self.hidden(x).relu())


@pytest.fixture(scope='module')
def net():
    return Net()


@pytest.fixture(scope='module')
def graph(net):
    return mmdhp.trace(net, torch.zeros(2, *SHAPE))


@pytest.fixture
def floors(net, graph):
    """Floors of all groups by name, for some options."""

    def resolve(**options):
        found = Limits(**options).resolve(net, graph).tolist()
        return {g.name: n for g, n in zip(graph.groups, found)}

    return resolve


def by_name(stem=4, inner=4, up=4, hidden=4):
    return {'stem': stem, 'body.0': inner, 'up': up, 'hidden': hidden}


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (4, by_name()),
        (12, by_name(10, 12, 12, 12)),
        (0.25, by_name(2, 3, 5, 25)),
        (0.01, by_name(1, 1, 1, 1)),
        (0.29, by_name(2, 4, 5, 29)),
    ],
)
def test_min_channels_by_number_and_by_fraction(floors, value, expected):
    assert floors(min_channels=value) == expected


@pytest.mark.parametrize(
    ('patterns', 'expected'),
    [
        ({'stem': 7}, by_name(stem=7)),
        ({'stem': 2}, by_name(stem=2)),
        ({'stem': 0.5, 'up': 99}, by_name(stem=5, up=20)),
        ({'body.0': 8}, by_name(inner=8)),
        ({'body.2': 8}, by_name(stem=8)),  # ends in the stem's group
        ({'body': 8}, by_name(stem=8, inner=8)),
        ({'[su]*': 6}, by_name(stem=6, up=6)),
        ({'*': 6, 'up': 9}, by_name(6, 6, 9, 6)),
        ({'up': 9, '*': 6}, by_name(6, 6, 6, 6)),  # later patterns win
    ],
)
def test_floors_by_name(floors, patterns, expected):
    assert floors(floors=patterns) == expected


@pytest.mark.parametrize(
    ('ratio', 'expected'),
    [
        (1, by_name()),
        (0.5, by_name(5, 7, 10, 50)),
        (0.29, by_name(8, 10, 15, 71)),
        (0.999, by_name(4, 4, 4, 4)),
        ({'hidden': 0.3}, by_name(hidden=70)),
        ({'*': 0.5, 'up': 1.0}, by_name(5, 7, 4, 50)),
    ],
)
def test_largest_fraction_that_may_go(floors, ratio, expected):
    assert floors(max_ratio=ratio) == expected


def test_the_larger_floor_counts(floors):
    found = floors(
        min_channels=6,
        floors={'stem': 2, 'hidden': 0.8},
        max_ratio={'*': 0.6, 'hidden': 0.3},
    )
    assert found == by_name(4, 6, 8, 80)


def test_the_consumer_of_channels_does_not_name_them(floors):
    """The transposed conv reads the stem's channels with its axis 0."""
    assert floors(floors={'up': 9})['stem'] == 4
    with pytest.raises(KeyError, match="'norm' matches no prunable group"):
        floors(floors={'norm': 5})


@pytest.mark.parametrize('value', [0, -1, 1.0, 2.5, 'four', True, None, {}])
def test_min_channels_that_makes_no_sense(floors, value):
    with pytest.raises(ValueError, match=f'min_channels is {value!r}. A fl'):
        floors(min_channels=value)


@pytest.mark.parametrize('value', [0, 1.5, -0.1, float('nan'), True, '0.5'])
def test_ratios_that_make_no_sense(floors, value):
    with pytest.raises(ValueError, match=f'max_ratio is {value!r}. A floor'):
        floors(max_ratio=value)


def test_all_wrong_values_are_listed(floors):
    message = (
        r"min_channels is '4'; floors\['stem'\] is True; floors\['up'\] is "
        r"1\.0; floors\[3\] is 4; max_ratio\['hidden'\] is 'half'\. A floor "
        r'is a number of channels'
    )
    with pytest.raises(ValueError, match=message):
        floors(
            min_channels='4',
            floors={'stem': True, 'body': 3, 'up': 1.0, 3: 4},
            max_ratio={'hidden': 'half', 'up': 0.5},
        )


def test_floors_are_a_dict(floors):
    with pytest.raises(ValueError, match=r'floors is 8\. .* by name pattern'):
        floors(floors=8)


def test_all_patterns_that_match_nothing_are_listed(floors):
    message = (
        r"floors: 'stemm' matches no prunable group; the nearest names are "
        r"\['stem', .*\]\. floors: 'head' matches no prunable group; head "
        r'keeps its width: its channels are an output of the model\. '
        r"max_ratio: 'hiden' .* \['hidden', "
    )
    with pytest.raises(KeyError, match=message):
        floors(floors={'stemm': 8, 'head': 3}, max_ratio={'hiden': 0.5})


def attached(**options):
    torch.manual_seed(0)
    pruner = DHP(**{'target': {'macs': 0.5}, 'input_shape': SHAPE, **options})
    pruner.attach(Net())
    return pruner


def test_a_pruner_takes_them_from_the_config():
    pruner = attached(
        min_channels=1, floors={'stem': 9}, max_ratio={'hidden': 0.2}
    )
    assert pruner.floors.tolist() == list(by_name(9, 1, 1, 80).values())
    widths = pruner.graph.widths(pruner.select())
    assert widths['stem'][0] >= 9
    assert widths['hidden'][0] >= 80


def test_an_excluded_group_has_no_floor():
    message = "'stem' matches no .* stem keeps its width: .* of `exclude`"
    with pytest.raises(KeyError, match=message):
        attached(exclude=['stem'], floors={'stem': 4})


@pytest.mark.parametrize('divisor', [0, 2.0, True, '8'])
def test_divisors_that_make_no_sense(divisor):
    with pytest.raises(ValueError, match=f'divisor is {divisor!r}, but'):
        attached(divisor=divisor)


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'min_channels': 9}, r'min_channels=9\.'),
        ({'min_channels': 1, 'max_ratio': 0.1}, r'max_ratio=0\.1\.'),
        (
            {'min_channels': 9, 'floors': {'stem': 10}, 'divisor': 4},
            r"floors={'stem': 10}, min_channels=9, divisor=4\.",
        ),
        (
            {'min_channels': 1, 'floors': {'*': 2}, 'exclude': ['stem']},
            r"floors={'\*': 2}, exclude=\['stem'\]\.",
        ),
    ],
)
def test_an_unreachable_target_names_the_options_behind_it(options, named):
    message = f'target 0.02 cannot be reached: .* allow smaller .* {named}'
    with pytest.raises(GraphError, match=message):
        attached(target={'macs': 0.02}, **options)


def test_an_unreachable_target_without_options():
    with pytest.raises(GraphError, match=r'or allow smaller widths\.$'):
        attached(target={'macs': 1e-6}, min_channels=1)


def random_options(seed, sizes):
    """Floors, a ratio and a divisor that leave something to select."""
    draw = random.Random(seed)
    floors = {
        name: draw.choice([draw.randint(1, size), draw.uniform(0.01, 0.7)])
        for name, size in sizes.items()
        if draw.random() < 0.5
    }
    ratio = draw.choice([1.0, draw.uniform(0.3, 1.0)])
    limits = Limits(draw.choice([1, 3, 0.2]), floors, ratio)
    return limits, draw.choice([1, 1, 3, 4, 8]), draw.uniform(0.6, 1.0)


@pytest.mark.parametrize('name', ['Residual', 'ConcatDepthwise', 'Flatten'])
@pytest.mark.parametrize('seed', range(12))
def test_any_selection_respects_floors_divisor_and_budget(name, seed):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    sizes = {group.name: group.size for group in graph.groups}
    limits, divisor, target = random_options(seed, sizes)
    floors = limits.resolve(model, graph)
    scores = torch.rand(graph.num_units)
    budget = target * graph.macs()
    try:
        keep = select(scores, graph, graph.macs, budget, floors, divisor)
    except GraphError:
        assert graph.macs(smallest(graph, floors, divisor)) > budget
        return
    assert graph.macs(keep) <= budget
    again = select(scores, graph, graph.macs, budget, floors, divisor)
    assert torch.equal(keep, again)
    widths = graph.widths(keep).values()
    for (kept, size), floor in zip(widths, floors.tolist()):
        assert floor <= kept
        assert kept % divisor == 0 or kept == size
    for group in graph.groups:  # the best of every group
        own = scores[group.start : group.stop]
        kept = keep[group.start : group.stop]
        assert kept.all() or own[kept].min() > own[~kept].max()


def smallest(graph, floors, divisor):
    """The narrowest mask: every floor rounded up."""
    keep = graph.full()
    for group, floor in zip(graph.groups, floors.tolist()):
        rounded = -(-floor // divisor) * divisor
        keep[group.start + rounded : group.stop] = False
    return keep
