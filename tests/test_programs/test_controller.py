"""The controller against the paper's formulas, and its random numbers."""

import copy

import pytest
import torch

from mmdhp.programs import (
    Controller,
    binarise,
    even_odds,
    keep_probability,
)

SIZES = (5, 3, 7)
OWNER = torch.tensor([0] * 5 + [1] * 3 + [2] * 7)


def normed(weight):
    rows = [
        g * v / v.norm() for g, v in zip(weight.norm[:, 0], weight.direction)
    ]
    return torch.stack(rows)


def naive_logits(controller):
    """GRU cell, rectifier and heads of the paper, group by group."""
    gru = controller.gru
    w_ih, w_hh, heads = map(
        normed, (gru.weight_ih, gru.weight_hh, controller.heads)
    )
    b, found, start = torch.zeros(gru.hidden).double(), [], 0
    for a, size in zip(controller.a, SIZES):
        x = (w_ih @ a + gru.bias_ih).chunk(3)
        h = (w_hh @ b + gru.bias_hh).chunk(3)
        reset, update = (x[0] + h[0]).sigmoid(), (x[1] + h[1]).sigmoid()
        new = (x[2] + reset * h[2]).tanh()
        b = (1 - update) * new + update * b
        found += [row @ b.relu() for row in heads[start : start + size]]
        start += size
    return torch.stack(found)


def test_logits_are_those_of_the_paper():
    controller = Controller(SIZES, input_dim=6, hidden_dim=9).double()
    with torch.no_grad():  # norms that are not those of the directions
        for name, value in controller.named_parameters():
            if name.endswith('norm'):
                value.mul_(torch.rand_like(value) + 0.5)
    expected = naive_logits(controller)
    torch.testing.assert_close(controller(), expected)
    grads = torch.autograd.grad(controller().sum(), controller.gru.bias_hh)
    wanted = torch.autograd.grad(expected.sum(), controller.gru.bias_hh)
    torch.testing.assert_close(grads, wanted)


def test_sizes_are_those_of_the_paper():
    controller = Controller([16, 32])
    count = sum(p.numel() for p in controller.parameters())
    assert count == 75264 + 129 * 48
    logits = Controller([64] * 50)().detach()
    assert logits.abs().max() < 0.5
    assert abs(logits.mean()) < 0.02


def test_baselines():
    dense = Controller(SIZES, 'dense', input_dim=6).double()
    weight = normed(dense.heads)
    expected = [row @ dense.a[i] for row, i in zip(weight, OWNER)]
    torch.testing.assert_close(dense(), torch.stack(expected))
    gates = Controller(SIZES, 'gates')
    assert torch.equal(gates(), torch.zeros(15))
    assert [p.shape for p in gates.parameters()] == [(15, 1)]


def test_inputs():
    fixed = Controller(SIZES, inputs='fixed')
    assert 'a' in fixed.state_dict()
    assert 'a' not in dict(fixed.named_parameters())
    assert 0 <= fixed.a.min() < fixed.a.max() <= 1
    learned = Controller(SIZES, inputs='learned')
    assert 'a' in dict(learned.named_parameters())
    random = Controller(SIZES, inputs='random')
    first = random()
    assert torch.equal(first, random())
    random.step += 1
    assert not torch.equal(first, random())


@pytest.mark.parametrize('generator', ['hsn', 'dense', 'gates'])
def test_it_can_be_copied_and_saved(generator):
    controller = Controller(SIZES, generator)
    controller().sum().backward()
    twin = copy.deepcopy(controller)
    other = Controller(SIZES, generator)
    other.load_state_dict(controller.state_dict())
    for same in (twin, other):
        assert torch.equal(same(), controller())
        assert torch.equal(same.noise('gumbel'), controller.noise('gumbel'))
    assert [p.shape[0] for p in controller.head_parameters] == [
        15 for _ in controller.head_parameters
    ]


def test_noise_depends_on_seed_and_step_alone():
    controller = Controller(SIZES)
    before = torch.get_rng_state()
    first = controller.noise('gumbel')
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(controller.noise('gumbel'), first)
    controller.step += 1
    assert not torch.equal(controller.noise('gumbel'), first)
    other = Controller(SIZES)
    other.step.copy_(controller.step)
    noise = other.noise('gumbel')
    assert not torch.equal(noise, controller.noise('gumbel'))


@pytest.mark.parametrize('kind', ['gumbel', 'logistic'])
def test_gates_are_kept_as_often_as_predicted(kind):
    logits = torch.linspace(-3, 3, 7)
    controller = Controller([200] * 7, 'gates')
    counts = torch.zeros(7)
    draws = 100
    for _ in range(draws):
        flat = logits.repeat_interleave(200)
        draw = binarise(flat, controller.noise(kind), controller.group_of_unit)
        counts += draw.gates.view(7, 200).mean(1)
        controller.step += 1
    # 20000 draws each: a standard error of at most 0.0036
    expected = keep_probability(logits, kind)
    torch.testing.assert_close(counts / draws, expected, atol=0.015, rtol=0)
    even = torch.tensor(even_odds(kind))
    assert keep_probability(even, kind).item() == pytest.approx(0.5)


def test_one_gumbel_is_not_logistic():
    zero = torch.zeros(1)
    assert keep_probability(zero, 'gumbel').item() == pytest.approx(0.63212)
    assert keep_probability(zero, 'logistic').item() == 0.5


def test_gates_are_binary_with_a_straight_through_slope():
    logits = torch.randn(15).requires_grad_()
    noise = torch.randn(15)
    draw = binarise(logits, noise, OWNER, temperature=0.4, offset=0.3)
    assert set(draw.gates.tolist()) == {0.0, 1.0}
    assert torch.equal(draw.gates, (logits + noise + 0.3 > 0).float())
    z = torch.sigmoid((logits + noise + 0.3) / 0.4)
    (slope,) = torch.autograd.grad(z.sum(), logits)
    torch.testing.assert_close(draw.slope, slope)
    assert draw.slope.max() <= 0.625


def test_three_as_offset_starts_from_the_full_network():
    """27 gates of ResNet-56; with logistic noise 5 % would be off."""
    controller = Controller([16] * 9 + [32] * 9 + [64] * 9)
    logits = controller().detach()
    owner = controller.group_of_unit
    kinds = {}
    for kind in ('gumbel', 'logistic'):
        noise = controller.noise(kind)
        kinds[kind] = binarise(logits, noise, owner, offset=3.0).gates.mean()
    assert kinds['gumbel'] == 1
    assert kinds['logistic'] < 0.98


def test_no_group_loses_its_last_channel():
    logits = torch.full((15,), -50.0)
    logits[6] = -40.0
    draw = binarise(logits, torch.zeros(15).index_fill(0, OWNER[:1], 1), OWNER)
    counts = torch.zeros(3).index_add(0, OWNER, draw.gates)
    assert counts.tolist() == [1.0, 1.0, 7.0]
    assert draw.gates[0] == 1
    assert draw.gates[6] == 1
