"""Predicted peaks of activation memory against counted ones."""

import weakref

import pytest
import torch
import zoo
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import mmdhp
from mmdhp.costs import Memory, PeakMemory, peak_memory


def tensors_of(tree):
    return [
        leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)
    ]


class Recorder(TorchDispatchMode):
    """Notes which memory every operator of a real run reads and writes."""

    def __init__(self):
        super().__init__()
        self.alive, self.calls, self.bytes = [], [], {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        read, written = tensors_of((args, kwargs)), tensors_of(out)
        self.alive += [read, written]
        self.calls.append([self.key(t) for t in [*read, *written]])
        return out

    def key(self, tensor):
        storage = tensor.untyped_storage()
        self.bytes.setdefault(storage._cdata, storage.nbytes())
        return storage._cdata


def counted_peak(model, inputs):
    """Peak of what is needed at once in a real pass; a naive count."""
    weights = [*model.parameters(), *model.buffers()]
    owned = {t.untyped_storage()._cdata for t in weights}
    recorder = Recorder()
    with torch.no_grad(), recorder:
        outputs = tensors_of(model.eval()(inputs))
    end = len(recorder.calls)
    uses = {}
    for index, keys in enumerate(recorder.calls):
        for key in keys:
            uses.setdefault(key, []).append(index)
    uses[recorder.key(inputs)].insert(0, 0)
    for tensor in outputs:
        uses[recorder.key(tensor)].append(end)
    spans = [
        (own[0], own[-1], recorder.bytes[key])
        for key, own in uses.items()
        if key not in owned and (len(own) > 1)
    ]
    return max(
        sum(size for first, last, size in spans if first <= now <= last)
        for now in range(end + 1)
    )


REAL = [
    'Residual',
    'Concat',
    'Depthwise',
    'SubPixel',
    'Shared',
]


@pytest.mark.parametrize('name', REAL)
def test_predicted_peak_is_that_of_a_real_run_of_the_cut_model(name):
    model, (inputs,) = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    memory = Memory(graph, graph)
    keep = graph.random_keep(0.5, seed=1)
    assert memory.full == counted_peak(model, inputs[:1].clone())
    mmdhp.shrink(model, graph, keep)
    assert memory.value(keep) == counted_peak(model, inputs[:1].clone())
    assert memory.value(keep) < memory.full


@pytest.mark.parametrize(
    'name', [name for name in zoo.ZOO if name != 'FollowingConstants']
)
def test_predicted_peak_is_that_of_a_trace_of_the_cut_model(name):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    keep = graph.random_keep(0.6, seed=1)
    predicted = Memory(graph, graph).value(keep)
    mmdhp.shrink(model, graph, keep)
    assert predicted == peak_memory(mmdhp.trace(model, inputs))


class Net(nn.Module):
    """The second layer needs most: 4 x 7 x 6 read, 9 x 7 x 6 written."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 9, 1)
        self.third = nn.Conv2d(9, 2, 3)

    def forward(self, x):
        return self.third(self.second(self.first(x)).relu_())


@pytest.fixture
def graph():
    return mmdhp.trace(Net(), torch.zeros(2, 3, 7, 6))


def test_bytes_of_every_call(graph):
    area, out = 7 * 6 * 4, 5 * 4 * 4
    expected = [7 * area, 13 * area, 9 * area, 9 * area + 2 * out, 2 * out]
    found = PeakMemory(graph).profile(graph.full().double())
    assert found.tolist() == expected
    assert Memory(graph, graph).full == 13 * area


def test_the_derivative_is_that_of_the_peak(graph):
    gates = graph.full().double().requires_grad_()
    memory = Memory(graph, graph)
    assert torch.autograd.gradcheck(memory.soft, gates)
    (slope,) = torch.autograd.grad(memory.soft(gates), gates)
    assert set(slope.tolist()) == {7 * 6 * 4.0}


def test_a_batch_does_not_count():
    sizes = {
        peak_memory(mmdhp.trace(Net(), torch.zeros(batch, 3, 7, 6)))
        for batch in (2, 5)
    }
    assert sizes == {13 * 7 * 6 * 4}


def test_half_precision_takes_half(graph):
    half = mmdhp.trace(Net().half(), torch.zeros(2, 3, 7, 6).half())
    assert 2 * peak_memory(half) == peak_memory(graph)


def test_a_trace_keeps_no_tensor_alive():
    inputs = torch.zeros(2, 3, 7, 6)
    gone = weakref.ref(inputs)
    graph = mmdhp.trace(Net(), inputs)
    assert graph.activity.calls
    del inputs
    assert gone() is None
