"""A gate in front of every reader is the removal of a channel."""

import copy

import pytest
import torch
import zoo
from torch import nn

import mmdhp
from mmdhp.programs import Gates, escaping_groups, inner_groups

TOLERANCE = 1e-5  # relative; measured: below 3e-7

# Groups for which gates cannot stand: weights that are computed, or used
# without their layer, or by no layer at all.
ESCAPING = {
    'RawParameter': ['stem'],
    'MultiheadAttention': ['stem', 'attend.in_proj_weight'],
    'Einsum': ['stem'],
    'SpectrallyNormed': ['stem.parametrizations.weight.original'],
    'Deformable': ['stem'],
}


def outputs(model, inputs):
    leaves = torch.utils._pytree.tree_leaves(model(*inputs))
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


@pytest.mark.parametrize('name', zoo.ZOO)
def test_gated_and_shrunk_models_agree(name):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    escaping = escaping_groups(model, graph, lambda: model(*inputs))
    assert escaping == ESCAPING.get(name, [])
    graph = mmdhp.trace(model, inputs, exclude=escaping)
    model.eval()
    if not graph.groups:
        return
    keep = graph.random_keep(0.5, 1)
    gates = Gates(model, graph)
    gates.show(keep.float())
    gates.install()
    with torch.no_grad():
        found = outputs(model, inputs)
    gates.remove()
    shrunk = copy.deepcopy(model)
    mmdhp.shrink(shrunk, graph, keep)
    with torch.no_grad():
        expected = outputs(shrunk, inputs)
        full = outputs(model, inputs)
    for a, b in zip(found, expected):
        assert (a - b).abs().max() <= TOLERANCE * b.abs().max()
    assert any(not torch.equal(a, b) for a, b in zip(found, full))


@pytest.mark.parametrize('name', ['Residual', 'Concat', 'GroupedByPosition'])
def test_gradients_are_those_of_soft_gates(name):
    model, inputs = zoo.build(name)
    model = model.double().eval().requires_grad_(False)
    inputs = [x.double() for x in inputs]
    graph = mmdhp.trace(model, tuple(inputs))
    gates = Gates(model, graph)
    gates._train = gates._train.detach().double().requires_grad_()
    gates._shown = gates._shown.double()
    gates.install()
    values = torch.rand(graph.num_units).double()

    def loss(v):
        gates.write(v)
        return sum(out.square().sum() for out in outputs(model, inputs))

    (loss(values) * 2).backward()
    found = gates.collect()
    for unit in range(graph.num_units):
        step = torch.zeros_like(values)
        step[unit] = 1e-6
        rise = (loss(values + step) - loss(values - step)) / 1e-6
        assert found[unit].item() == pytest.approx(rise.item(), rel=1e-6)


def test_passes_add_up_and_collecting_clears():
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    gates = Gates(model, graph)
    gates.write(torch.ones(graph.num_units))
    gates.install()

    def backward():
        outputs(model, inputs)[0].sum().backward()

    backward()
    once = gates.collect()
    backward()
    backward()
    torch.testing.assert_close(gates.collect(), 2 * once)
    assert torch.equal(gates.collect(), torch.zeros(graph.num_units))
    assert once.abs().min() > 0


def test_pruned_channels_have_gradients_too():
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    gates = Gates(model, graph)
    keep = graph.random_keep(0.5)
    gates.write(keep.float())
    gates.install()
    outputs(model, inputs)[0].square().sum().backward()
    assert (gates.collect()[~keep] != 0).any()


def test_the_model_is_as_before():
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    state = copy.deepcopy(model.state_dict())
    identities = {n: id(p) for n, p in model.named_parameters()}
    gates = Gates(model, graph)
    gates.install()
    gates.install()
    hooks = sum(len(m._forward_pre_hooks) for m in model.modules())
    assert hooks == len(gates.readers)
    assert list(model.state_dict()) == list(state)
    gates.remove()
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert {n: id(p) for n, p in model.named_parameters()} == identities
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])


def test_an_input_given_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3)
            self.second = nn.Conv2d(6, 4, 1)

        def forward(self, x):
            return self.second(input=self.first(x))

    model, x = Named(), torch.rand(2, 3, 9, 7)
    graph = mmdhp.trace(model, x)
    gates = Gates(model, graph)
    gates.show(torch.zeros(6))
    gates.install()
    with torch.no_grad():
        out = model(x)
    expected = model.second.bias.view(1, 4, 1, 1).expand_as(out)
    torch.testing.assert_close(out, expected)


def test_half_precision_features_stay():
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs)
    gates = Gates(model, graph)
    gates.install()
    seen = []
    model.first_out.register_forward_hook(
        lambda module, args, out: seen.append(args[0].dtype)
    )
    with torch.autocast('cpu', torch.bfloat16):
        outputs(model, inputs)[0].sum().backward()
    assert seen == [torch.bfloat16]
    assert gates.collect().dtype == torch.float32


PAPER = [  # number of gated groups and channels, spec of the paper's nets
    ('resnet34', 16, 3776),
    ('resnet50', 32, 7552),
    ('resnet101', 66, 16256),
    ('mobilenet_v2', 16, 7104),
]


@pytest.mark.parametrize(('name', 'groups', 'channels'), PAPER)
def test_inner_groups_are_those_of_the_paper(name, groups, channels):
    models = pytest.importorskip('torchvision.models')
    model = getattr(models, name)()
    graph = mmdhp.trace(model, torch.zeros(2, 3, 64, 64))
    inner = set(inner_groups(model, graph))
    assert len(inner) == groups
    assert sum(g.size for g in graph.groups if g.name in inner) == channels


def test_inner_groups_of_our_networks():
    pytest.importorskip('mmengine')
    from mmdhp.registry import MODELS

    for cfg, groups, channels in (
        ({'type': 'CIFARResNet', 'depth': 56}, 27, 1008),
        ({'type': 'SRResNet', 'num_blocks': 5}, 5, 320),
        ({'type': 'EDSR', 'num_blocks': 3}, 3, None),
    ):
        model = MODELS.build(cfg)
        graph = mmdhp.trace(model, torch.zeros(2, 3, 32, 32))
        inner = set(inner_groups(model, graph))
        assert len(inner) == groups
        total = sum(g.size for g in graph.groups if g.name in inner)
        assert channels in (None, total)
