"""The flat hypernetwork against the paper's formula, layer by layer."""

import copy
import math

import pytest
import torch
from torch import nn

import mmdhp
from mmdhp.graph import GraphError
from mmdhp.programs import HyperNetwork


class Mixed(nn.Module):
    """Kernel sizes, groups, transposition, sharing and a frozen layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, (3, 5), padding=(1, 2))
        self.block = nn.Conv2d(8, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=8)
        self.point = nn.Conv2d(8, 6, 1, bias=False)
        self.up = nn.ConvTranspose2d(6, 7, 2, stride=2)
        self.fixed = nn.Conv2d(7, 7, 1).requires_grad_(False)
        self.hidden = nn.Linear(7, 9)
        self.fc = nn.Linear(9, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        x = x + self.block(x)
        x = self.point(self.depthwise(x).relu())
        x = self.fixed(self.up(x)).mean((2, 3))
        return self.fc(self.hidden(x).relu())


@pytest.fixture
def traced():
    torch.manual_seed(0)
    model = Mixed().double()
    graph = mmdhp.trace(model, torch.zeros(2, 3, 9, 11).double())
    return model, graph, HyperNetwork(model, graph, embedding_dim=4)


def naive_weight(z_in, z_out, b0, w1, b1, w2, b2):
    """The formula of spec and paper for one layer, in plain loops.

    Shapes: ``z_in (c, )``, ``z_out (n, )``, ``b0 (n, c)``, ``w1, b1
    (n, c, m)``, ``w2 (n, c, k, m)``, ``b2 (n, c, k)``.
    """
    n, c, k = b2.shape
    rows = []
    for j in range(n):
        for i in range(c):
            latent = z_in[i] * z_out[j] + b0[j, i]
            embedding = latent * w1[j, i] + b1[j, i]
            rows.append(w2[j, i] @ embedding + b2[j, i])
    return torch.stack(rows).reshape(n, c, k)


def layer_tensors(program, weight):
    """One layer's hypernetwork, cut out of the flat tensors."""
    bank = program.banks[str(weight.positions)]
    start = 0
    for other in bank.weights:
        if other is weight:
            break
        start += other.connections
    cut = slice(start, start + weight.connections)
    n, c = len(weight.first), len(weight.second)
    k = weight.positions
    m = len(bank.w1)
    return (
        bank.b0[cut].reshape(n, c),
        bank.w1[:, cut].t().reshape(n, c, m),
        bank.b1[:, cut].t().reshape(n, c, m),
        bank.w2[:, :, cut].permute(2, 1, 0).reshape(n, c, k, m),
        bank.b2[:, cut].t().reshape(n, c, k),
    )


def randomise(program):
    """Biases start at zero; a test of the formula needs others."""
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.copy_(torch.randn_like(parameter))


def test_push_equals_the_formula_in_double_precision(traced):
    model, _, program = traced
    randomise(program)
    program.push()
    assert {w.name for w in program.weights} == {
        'stem.weight',
        'block.weight',
        'depthwise.weight',
        'point.weight',
        'up.weight',
        'hidden.weight',
    }
    for weight in program.weights:
        z_out = program.latent[weight.first]
        z_in = program.latent[weight.second]
        expected = naive_weight(z_in, z_out, *layer_tensors(program, weight))
        torch.testing.assert_close(
            weight.parameter, expected.reshape(weight.parameter.shape)
        )


def test_pull_equals_autograd_through_the_formula(traced):
    model, _, program = traced
    randomise(program)
    program.push()
    images = torch.rand(2, 3, 9, 11).double()
    model(images).square().sum().backward()
    program.pull()
    pulled = {n: p.grad.clone() for n, p in program.named_parameters()}

    generated = {}
    for weight in program.weights:
        made = naive_weight(
            program.latent[weight.second],
            program.latent[weight.first],
            *layer_tensors(program, weight),
        )
        generated[weight.name] = made.reshape(weight.parameter.shape)
    program.zero_grad()
    loss = torch.func.functional_call(model, generated, images)
    loss.square().sum().backward()
    for name, parameter in program.named_parameters():
        torch.testing.assert_close(pulled[name], parameter.grad)


def test_pull_of_two_backward_passes_is_the_sum(traced):
    model, _, program = traced
    program.push()
    first, second = torch.rand(2, 4, 3, 9, 11).double()

    def gradients(*batches):
        for batch in batches:
            model(batch).square().sum().backward()
        program.pull()
        return [p.grad.clone() for p in program.parameters()]

    for both, a, b in zip(
        gradients(first, second), gradients(first), gradients(second)
    ):
        torch.testing.assert_close(both, a + b)


def test_pull_clears_the_gradients_of_generated_weights_only(traced):
    model, _, program = traced
    program.push()
    model(torch.rand(2, 3, 9, 11).double()).sum().backward()
    program.pull()
    assert all(w.parameter.grad is None for w in program.weights)
    assert model.fc.weight.grad is not None
    assert model.stem.bias.grad is not None


def test_a_layer_without_gradient_pulls_zero(traced):
    model, _, program = traced
    program.push()
    model.stem(torch.rand(2, 3, 9, 11).double()).sum().backward()
    program.pull()
    bank = program.banks['1']  # the 1x1 convs took no part
    assert bank.w2.grad.abs().max() == 0
    assert program.banks['15'].w2.grad.abs().max() > 0


def test_pull_before_push_says_so(traced):
    with pytest.raises(RuntimeError, match='pull.. before push'):
        traced[2].pull()


def test_search_leaves_classes_keys_and_tensors_alone(traced):
    model, graph, _ = traced
    before = {
        name: (id(tensor), tensor.shape)
        for name, tensor in model.state_dict(keep_vars=True).items()
    }
    classes = [type(m) for m in model.modules()]
    program = HyperNetwork(model, graph)
    program.push()
    model(torch.rand(2, 3, 9, 11).double()).sum().backward()
    program.pull()
    after = {
        name: (id(tensor), tensor.shape)
        for name, tensor in model.state_dict(keep_vars=True).items()
    }
    assert after == before
    assert [type(m) for m in model.modules()] == classes


def test_slicing_commutes_with_generation(traced):
    """Cutting generated weights = generating from cut latents."""
    model, graph, program = traced
    randomise(program)
    program.push()
    keep = graph.random_keep(0.6, seed=2)
    positions = graph.positions(keep)
    small = mmdhp.shrink(copy.deepcopy(model), graph, keep)
    found = dict(small.named_parameters())
    for weight in program.weights:
        rows = positions.get((weight.name, 0), slice(None))
        columns = positions.get((weight.name, 1), slice(None))
        b0, w1, b1, w2, b2 = (
            t[rows][:, columns] for t in layer_tensors(program, weight)
        )
        z_out = program.latent[weight.first][rows]
        z_in = program.latent[weight.second][columns]
        expected = naive_weight(z_in, z_out, b0, w1, b1, w2, b2)
        torch.testing.assert_close(
            found[weight.name], expected.reshape(found[weight.name].shape)
        )


def test_generated_weights_have_fan_in_variance():
    """Mean over draws: single draws are heavy-tailed products."""
    conv = nn.Sequential(nn.Conv2d(24, 40, 3), nn.Conv2d(40, 5, 3))
    graph = mmdhp.trace(conv, torch.zeros(2, 24, 9, 7))
    variances = []
    for seed in range(40):
        torch.manual_seed(seed)
        HyperNetwork(conv, graph).push()
        variances.append(conv[0].weight.var().item())
    expected = 1 / (24 * 9)
    assert sum(variances) / 40 == pytest.approx(expected, rel=0.1)


def test_initialisation_is_the_papers():
    conv = nn.Sequential(nn.Conv2d(24, 40, 3), nn.Conv2d(40, 5, 3))
    graph = mmdhp.trace(conv, torch.zeros(2, 24, 9, 7))
    torch.manual_seed(0)
    program = HyperNetwork(conv, graph, embedding_dim=8)
    bank = program.banks['9']
    assert program.latent.std().item() == pytest.approx(1, rel=0.25)
    assert bank.w1.abs().max() <= math.sqrt(3)
    assert bank.w1.var().item() == pytest.approx(1, rel=0.05)
    for name in ('b0', 'b1', 'b2'):
        assert getattr(bank, name).abs().max() == 0
    first = 24 * 40
    bound = math.sqrt(3 / (8 * 24 * 9))
    assert bound * 0.99 < bank.w2[..., :first].abs().max() <= bound
    bound = math.sqrt(3 / (8 * 40 * 9))
    assert bound * 0.99 < bank.w2[..., first:].abs().max() <= bound


def test_fan_in_of_a_transposed_conv_is_its_input_axis():
    net = nn.Sequential(nn.ConvTranspose2d(30, 4, 2), nn.Conv2d(4, 5, 2))
    graph = mmdhp.trace(net, torch.zeros(2, 30, 9, 7))
    torch.manual_seed(0)
    program = HyperNetwork(net, graph, embedding_dim=8)
    assert [w.fan_in for w in program.weights] == [30, 4]
    bound = math.sqrt(3 / (8 * 30 * 4))
    largest = program.banks['4'].w2[..., : 30 * 4].abs().max()
    assert bound * 0.95 < largest <= bound


def test_state_dict_restores_the_same_weights(traced):
    model, graph, program = traced
    randomise(program)
    program.push()
    expected = model.stem.weight.clone()
    other = HyperNetwork(model, graph, embedding_dim=4)
    other.push()
    assert not torch.equal(model.stem.weight, expected)
    other.load_state_dict(program.state_dict())
    other.push()
    assert torch.equal(model.stem.weight, expected)


def test_nothing_to_generate_is_told():
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    graph = mmdhp.trace(net, torch.zeros(2, 2, 3))
    with pytest.raises(GraphError, match='Sequential has no trainable conv'):
        HyperNetwork(net, graph)
