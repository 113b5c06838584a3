"""Sizes that the model's code takes from shapes and attributes."""

import copy
import io
import pickle

import pytest
import torch
import zoo
from torch import nn

import mmdhp
from mmdhp.graph import GraphError
from mmdhp.graph.tracing.sizes import (
    Attribute,
    Extent,
    SizeBook,
    TracedInt,
    evaluate,
)


@pytest.fixture
def book():
    return SizeBook()


def traced(book, value, name='width'):
    return TracedInt(value, Attribute('net', name), book)


def test_arithmetic_keeps_the_expression(book):
    a, b = traced(book, 12, 'a'), traced(book, 5, 'b')
    size = (2 * a - 3) // b + a % 7
    assert size == (2 * 12 - 3) // 5 + 12 % 7
    values = {a.expression: 30, b.expression: 4}
    assert evaluate(size.expression, values) == (2 * 30 - 3) // 4 + 30 % 7


def test_copies_are_plain_integers(book):
    size = traced(book, 12)
    for twin in (copy.deepcopy(size), pickle.loads(pickle.dumps(size))):
        assert type(twin) is int
        assert twin == 12


def test_what_python_makes_plain_is_no_literal(book):
    size = traced(book, 12)
    for value in (int(size) + 0, int(size / 2), int(size * 0.25)):
        assert type(value) is int
        assert not book.is_literal(value)
    assert book.is_literal(5)


def test_an_earlier_trace_is_forgotten(book):
    stale = traced(SizeBook(), 12)
    assert book.expression(stale) is None
    assert (traced(book, 12) * stale).expression.second == 12


def nothing_traced(value, seen=None):
    if isinstance(value, (list, tuple)):
        return all(map(nothing_traced, value))
    if isinstance(value, dict):
        return all(map(nothing_traced, value.values()))
    return type(value) is not TracedInt


@pytest.mark.parametrize('name', ['AttentionHeads', 'AttributeSplit'])
def test_a_trace_leaves_plain_integers(name):
    model, inputs = zoo.build(name)
    before = {n: dict(vars(m)) for n, m in model.named_modules()}
    mmdhp.trace(model, inputs)
    for prefix, module in model.named_modules():
        assert nothing_traced(vars(module))
        assert vars(module).keys() == before[prefix].keys()


def test_attributes_follow_the_cut():
    model, inputs = zoo.build('AttributeSplit')
    graph = mmdhp.trace(model, inputs)
    keep = graph.full()
    keep[[0, 2, 6]] = False  # two of the first five, one of the next four
    values = graph.attribute_values(keep)
    assert values == {'first': 3, 'others[0]': 3, 'others[1]': 3}
    mmdhp.shrink(model, graph, keep)
    assert (model.first, model.others) == (3, [3, 3])
    assert model.a.in_channels == 3


def test_changed_attributes_travel_with_the_weights():
    model, inputs = zoo.build('AttentionHeads')
    fresh, nested = copy.deepcopy(model), nn.Sequential(copy.deepcopy(model))
    graph = mmdhp.trace(model, inputs)
    keep = graph.full()
    keep[graph.groups[0].start] = False
    mmdhp.shrink(model, graph, keep)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    mmdhp.rebuild(fresh, torch.load(file))
    assert (fresh.heads, fresh.width) == (2, 4)
    expected = model(*inputs)
    torch.testing.assert_close(fresh(*inputs), expected, rtol=0, atol=0)

    mmdhp.surgery.resize_on_load(nested[0])
    nested.load_state_dict(nn.Sequential(model).state_dict())
    assert nested[0].heads == 2


def test_a_model_can_be_cut_twice():
    model, inputs = zoo.build('AttributeSplit')
    for unit in (1, 0):
        graph = mmdhp.trace(model, inputs)
        keep = graph.full()
        keep[unit] = False
        mmdhp.shrink(model, graph, keep)
    (hook,) = model._state_dict_hooks.values()
    assert hook.values == {'first': 3, 'others[0]': 4, 'others[1]': 3}
    assert model.first == 3


def test_unknown_attributes_are_refused():
    with pytest.raises(AttributeError, match='depth'):
        mmdhp.surgery.set_attributes(zoo.ZOO['Shared'](), {'depth': 3})


class Opaque(nn.Module):
    """Values leave PyTorch and come back, channel by channel."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.after = nn.Conv2d(6, 7, 1)
        self.head = nn.Conv2d(7, 4, 1)

    def forward(self, x):
        x = torch.from_numpy(self.stem(x).numpy().clip(0))
        return self.head(self.after(x))


def test_a_declaration_replaces_caution():
    model, x = zoo.randomised(Opaque()), torch.randn(2, 3, 9, 7)
    groups = [['stem', 'after:input']]
    assert [g.name for g in mmdhp.trace(model, x).groups] == ['after']
    graph = mmdhp.trace(model, x, groups=groups)
    assert [g.name for g in graph.groups] == ['stem', 'after']
    assert mmdhp.verify(model, graph, graph.random_keep(0.5), x) < 1e-4


@pytest.mark.parametrize(
    ('patterns', 'error', 'message'),
    [
        (['stem', 'aftr:input'], KeyError, 'after:input'),
        (['stem', 'after.weight:7'], KeyError, r'after\.weight:3'),
        (['stem', 'head:input'], GraphError, 'stem: 6, head:input: 7'),
    ],
)
def test_wrong_declarations_are_refused(patterns, error, message):
    with pytest.raises(error, match=message):
        mmdhp.trace(Opaque(), torch.randn(2, 3, 9, 7), groups=[patterns])


def test_norms_that_are_declared_safe_lose_channels():
    model, inputs = zoo.build('LayerNorm')
    before = mmdhp.trace(model, inputs)
    norms = [
        n for n, m in model.named_modules() if isinstance(m, nn.LayerNorm)
    ]
    graph = mmdhp.trace(model, inputs, safe_norms=norms)
    assert set(graph.safe_norms) <= set(norms)
    assert graph.num_units > before.num_units
    keep = graph.random_keep(0.5)
    assert mmdhp.verify(model, graph, keep, inputs) < 1e-4
    with pytest.raises(KeyError, match=f"safe_norms: 'x'.*{norms[0]}"):
        mmdhp.trace(model, inputs, safe_norms=['x'])


def test_an_extent_says_what_it_is(book):
    assert str(Extent(torch.zeros(4, 1).numpy())) == 'a width of 4'
