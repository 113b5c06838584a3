"""Cutting, and the proof that the cut is the one that was asked for."""

import copy

import numpy as np
import pytest
import torch
import zoo
from torch import nn

import mmdhp
from mmdhp import surgery
from mmdhp.graph import RULES, GraphError
from mmdhp.graph.tracing.strands import on_axis

TOLERANCE = 1e-5  # relative; measured: below 5e-7


@pytest.mark.parametrize('name', zoo.ZOO)
def test_masked_and_shrunk_models_agree(name):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    for seed, ratio in enumerate((0.2, 0.5, 0.8)):
        keep = graph.random_keep(ratio, seed)
        gap = mmdhp.verify(model, graph, keep, inputs, relative=True)
        assert gap <= TOLERANCE


@pytest.mark.parametrize('name', zoo.ZOO)
def test_masking_changes_the_output(name):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    masked = copy.deepcopy(model)
    surgery.mask(masked, graph, graph.random_keep(0.5))
    with torch.no_grad():
        before, after = model(*inputs), masked(*inputs)
    leaves = torch.utils._pytree.tree_leaves
    assert any(
        not torch.allclose(a, b)
        for a, b in zip(leaves(before), leaves(after))
        if isinstance(a, torch.Tensor)
    )


@pytest.mark.parametrize('name', zoo.ZOO)
def test_a_shrunk_model_can_be_traced_and_shrunk_again(name):
    model, inputs = zoo.build(name)
    before = {k: id(p) for k, p in model.named_parameters()}
    classes = [type(module) for module in model.modules()]
    keys = list(model.state_dict())
    for seed in range(2):
        graph = mmdhp.trace(model, inputs)
        keep = graph.random_keep(0.7, seed)
        assert mmdhp.verify(model, graph, keep, inputs) <= TOLERANCE
        assert mmdhp.shrink(model, graph, keep) is model
        assert zoo.misfits(model) == []
    assert {k: id(p) for k, p in model.named_parameters()} == before
    assert [type(module) for module in model.modules()] == classes
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize('name', zoo.ZOO)
def test_a_shrunk_model_learns(name):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    mmdhp.shrink(model, graph, graph.random_keep(0.5))
    if 'bypass' in getattr(model, 'frozen', {}):
        pytest.skip('NumPy has no gradients')
    outputs = torch.utils._pytree.tree_leaves(model(*inputs))
    sum(t.sum() for t in outputs if t is not None).backward()
    assert all(
        p.grad is None or p.grad.shape == p.shape for p in model.parameters()
    )
    assert any(p.grad is not None for p in model.parameters())


def test_keeping_everything_changes_nothing():
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    pointers = [p.data_ptr() for p in model.parameters()]
    mmdhp.shrink(model, graph, graph.full())
    assert [p.data_ptr() for p in model.parameters()] == pointers
    assert all(
        torch.equal(before[k], v) for k, v in model.state_dict().items()
    )


def test_the_kept_values_are_the_chosen_ones():
    model, inputs = zoo.build('Shared')
    graph = mmdhp.trace(model, inputs)
    keep = graph.full()
    keep[[0, 4]] = False  # of stem
    kept = [1, 2, 3, 5, 6]
    stem, right = model.stem.weight.clone(), model.right.weight.clone()
    model.stem.weight.grad = torch.zeros_like(stem)
    model.head.weight.grad = torch.zeros_like(model.head.weight)
    mmdhp.shrink(model, graph, keep)
    assert torch.equal(model.stem.weight, stem[kept])
    assert torch.equal(model.right.weight, right[:, kept])
    assert model.stem.weight.grad is None
    assert model.head.weight.grad is not None


def test_take_cuts_what_is_shaped_like_a_parameter():
    graph = mmdhp.trace(*zoo.build('Shared'))
    keep = graph.full()
    keep[[0, 9]] = False  # the third of left
    positions = graph.positions(keep)
    momentum = torch.randn(6, 7, 3, 3)
    cut = surgery.take(momentum, 'left.weight', positions)
    assert torch.equal(cut, momentum[[0, 1, 3, 4, 5]][:, 1:])
    bias = torch.randn(4)
    assert surgery.take(bias, 'right.bias', positions) is bias


def test_a_stale_graph_changes_nothing():
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    keep = graph.random_keep(0.5)
    mmdhp.shrink(model, graph, keep)
    before = copy.deepcopy(model.state_dict())
    match = r'stem.weight: \(4, 3, 3, 3\) against \(8, 3, 3, 3\)'
    with pytest.raises(GraphError, match=match):
        mmdhp.shrink(model, graph, keep)
    assert all(
        torch.equal(before[k], v) for k, v in model.state_dict().items()
    )


@pytest.mark.parametrize(
    ('name', 'module', 'match'),
    [
        ('second', nn.Identity(), r'second.weight: missing against \(5, 8'),
        ('more', nn.PReLU(2), r'more.weight: \(2,\) against nothing'),
    ],
)
def test_a_model_with_other_layers_changes_nothing(name, module, match):
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    setattr(model, name, module)
    with pytest.raises(GraphError, match=match):
        mmdhp.shrink(model, graph, graph.random_keep(0.5))
    assert model.stem.out_channels == 8
    assert model.stem.weight.shape == (8, 3, 3, 3)


def test_verify_changes_nothing():
    model, inputs = zoo.build('Residual')
    model.train()
    model.norm.eval()
    graph = mmdhp.trace(model, inputs)
    before = copy.deepcopy(model.state_dict())
    mmdhp.verify(model, graph, graph.random_keep(0.5), inputs)
    assert all(
        torch.equal(before[k], v) for k, v in model.state_dict().items()
    )
    assert model.training
    assert not model.norm.training


# ------------------------------------------------ verify sees what is wrong
def _swapped_concatenation(trace, call):
    """Pieces in the wrong order."""
    pieces = [trace.axis(t, 1) for t in call.args[0]]
    trace.set(call, [on_axis(np.concatenate(pieces[::-1]), 1, 4)])


def _strided_pixel_shuffle(trace, call):
    """Every c-th channel instead of r² consecutive ones."""
    x, factor = call.args
    rows = trace.axis(x, 1).reshape(factor * factor, -1)
    trace.tie(rows, rows[:1], 'wrong')
    trace.set(call, [on_axis(rows[0], 1, 4)])


def _no_channel_shuffle(trace, call):
    """Channels stay where they are."""
    trace.set(call, trace.shadow(call.args[0]).strands)


def _no_grid(trace, call):
    """A chunk that ties nothing."""
    x, pieces = call.args[0], call.out
    rows = trace.axis(x, 1).reshape(len(pieces), -1)
    for row, piece in zip(rows, pieces):
        trace.set(call, [on_axis(row, 1, 4)], piece)


def _untied_sum(trace, call):
    """The strands of the first operand only."""
    trace.set(call, trace.shadow(call.tensors[0]).strands)


def _unknown_norm(trace, call):
    """A norm that forgets its own parameters."""
    trace.set(call, trace.shadow(call.tensors[0]).strands, call.outputs[0])


def _unmixed_norm(trace, call):
    """A layer norm whose channels could go."""
    for tensor in call.tensors[1:]:
        trace.tie(trace.axis(tensor, 0), trace.axis(call.args[0], -1), '')
    trace.set(call, trace.shadow(call.args[0]).strands, call.outputs[0])


# Releases of PyTorch dispatch one or the other.
_SHUFFLES = 'channel_shuffle native_channel_shuffle'


@pytest.mark.parametrize(
    ('name', 'operators', 'rule'),
    [
        ('Concat', 'cat', _swapped_concatenation),
        ('SubPixel', 'pixel_shuffle', _strided_pixel_shuffle),
        ('ChannelShuffleModule', _SHUFFLES, _no_channel_shuffle),
        ('Chunk', 'split', _no_grid),
        ('Shared', 'add', _untied_sum),
        ('Residual', 'native_batch_norm', _unknown_norm),
        ('LayerNorm', 'native_layer_norm', _unmixed_norm),
    ],
)
def test_a_wrong_rule_does_not_pass(name, operators, rule, monkeypatch):
    model, inputs = zoo.build(name)
    for operator in operators.split():
        monkeypatch.setitem(RULES, operator, rule)
    graph = mmdhp.trace(model, inputs)
    keeps = [graph.random_keep(0.6, seed) for seed in range(4)]
    keeps.append(torch.arange(graph.num_units) != 0)  # uneven pieces
    gaps = [mmdhp.verify(model, graph, keep, inputs) for keep in keeps]
    assert max(gaps) > 0.01


def test_verify_is_infinite_where_values_are_not_finite():
    class Inverse(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3)
            self.head = nn.Conv2d(6, 4, 1)

        def forward(self, x):
            return self.head(self.stem(x).sqrt())

    model, x = Inverse(), torch.randn(2, 3, 9, 8)
    graph = mmdhp.trace(model, x)
    assert mmdhp.verify(model, graph, graph.random_keep(0.5), x) == np.inf


def test_verify_is_infinite_where_shapes_differ():
    class Literal(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3)
            self.head = nn.Conv2d(6, 4, 1)

        def forward(self, x):
            x = self.stem(x)
            return self.head(x).mean() if x.shape[1] == 6 else self.head(x)

    model, x = Literal(), torch.randn(2, 3, 9, 8)
    graph = mmdhp.trace(model, x)
    assert mmdhp.verify(model, graph, graph.random_keep(0.5), x) == np.inf
    assert mmdhp.verify(model, graph, graph.full(), x) == 0
