"""HSN beside a small network, without a Runner."""

import copy

import pytest
import torch
from torch import nn

import mmdhp
from mmdhp.methods import HSN

SHAPE = (3, 9, 11)


class Net(nn.Module):
    """Two residual blocks of one class, a depthwise conv, a classifier."""

    class Block(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.first = nn.Conv2d(10, inner, (3, 1), padding=(1, 0))
            self.norm = nn.BatchNorm2d(inner)
            self.depthwise = nn.Conv2d(inner, inner, 3, 1, 1, groups=inner)
            self.second = nn.Conv2d(inner, 10, 1)

        def forward(self, x):
            inner = self.norm(self.first(x)).relu()
            return x + self.second(self.depthwise(inner))

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.blocks = nn.Sequential(self.Block(14), self.Block(18))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(10, 5)

    def forward(self, x):
        x = self.blocks(self.stem(x).relu()).mean((2, 3))
        return self.fc(self.drop(x))


@pytest.fixture
def net():
    torch.manual_seed(0)
    model = Net()
    for _ in range(3):
        model(torch.randn(8, *SHAPE))  # statistics of a trained network
    return model


def attached(model, **options):
    options = {'target': {'macs': 0.5}, 'min_channels': 1, **options}
    pruner = HSN(input_shape=SHAPE, **options)
    pruner.attach(model)
    return pruner


def begin(pruner, model, lr=1e-3, kind=torch.optim.Adam):
    optimizer = kind(pruner.program.parameters(), lr=lr)
    pruner.watch(optimizer)
    pruner.enter(model)
    pruner.push()
    return optimizer


def batch():
    draw = torch.Generator().manual_seed(4)
    images = torch.randn(6, *SHAPE, generator=draw)
    return images, torch.arange(6) % 5


def step(pruner, model, optimizer):
    images, labels = batch()
    pruner.set_mode(model)
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    pruner.pull()
    optimizer.step()
    pruner.after_step(1e-3)
    optimizer.zero_grad()
    return loss.item()


def objective(pruner, model, scale=1.0):
    """L + λR through autograd alone, with straight-through gates."""
    logits = pruner.program()
    noise = pruner.program.noise('gumbel')
    z = torch.sigmoid((logits + noise) / 0.4)
    v = z + (pruner._step.gates - z).detach()
    pruner._gates.remove()
    handles = [
        reader.module.register_forward_pre_hook(
            lambda module, args, reader=reader: (
                args[0]
                * pruner.graph.extend(v)[reader.units].view(
                    -1, *[1] * reader.trailing
                ),
            )
        )
        for reader in pruner._gates.readers
    ]
    images, labels = batch()
    loss = nn.functional.cross_entropy(model(images), labels)
    for handle in handles:
        handle.remove()
    ratio = pruner.graph.macs(v.double()) / pruner.graph.macs()
    cost = 4.0 * torch.log((ratio - 0.5).abs() + 1)
    return scale * loss, cost


def test_pull_is_the_gradient_of_the_objective(net):
    pruner = attached(net)
    begin(pruner, net)
    pruner.set_mode(net)
    images, labels = batch()
    nn.functional.cross_entropy(net(images), labels).backward()
    pruner._scaling.alpha.copy_(torch.tensor([0.6, 1.3, 2.0]))
    pruner.pull()
    found = {n: p.grad for n, p in pruner.program.named_parameters()}

    loss, cost = objective(pruner, net)
    names = [n for n, _ in pruner.program.named_parameters()]
    task = torch.autograd.grad(
        loss, pruner.program.parameters(), retain_graph=True
    )
    rest = torch.autograd.grad(cost, pruner.program.parameters())
    alpha = pruner._scaling.alpha[pruner.program.group_of_unit][:, None]
    for name, by_loss, by_cost in zip(names, task, rest):
        if name.startswith('heads'):
            by_loss = alpha * by_loss
        torch.testing.assert_close(
            found[name], by_loss + by_cost, rtol=1e-3, atol=1e-6
        )
        assert by_loss.abs().max() > 0
        assert by_cost.abs().max() > 0


def test_without_scaling_it_is_adam_on_the_objective(net):
    twin_net = copy.deepcopy(net)
    torch.manual_seed(1)
    pruner = attached(net, scaling='off')
    optimizer = begin(pruner, net)
    torch.manual_seed(1)
    twin = attached(twin_net, scaling='off')
    twin.push()
    plain = torch.optim.Adam(twin.program.parameters(), lr=1e-3)
    for _ in range(4):
        step(pruner, net, optimizer)
        twin.set_mode(twin_net)
        plain.zero_grad()
        sum(objective(twin, twin_net)).backward()
        plain.step()
        twin.program.step += 1
        twin.push()
    for first, second in zip(
        pruner.program.parameters(), twin.program.parameters()
    ):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=2e-5)


def test_a_step_size_of_zero_is_no_scaling(net):
    ends = []
    for options in ({'scaling': 'off'}, {'scaling_lr': 0.0}):
        torch.manual_seed(1)
        model = copy.deepcopy(net)
        pruner = attached(model, **options)
        optimizer = begin(pruner, model)
        for _ in range(3):
            step(pruner, model, optimizer)
        ends.append(pruner.program.state_dict())
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_alpha_moves_by_the_hyper_gradient(net):
    pruner = attached(net, scaling='paper', scaling_lr=1e4)
    pruner._scaling.bounds = None
    optimizer = begin(pruner, net)
    step(pruner, net, optimizer)
    derivatives = pruner._scaling._derivatives
    alpha = pruner._scaling.alpha.clone()
    assert torch.equal(alpha, torch.ones(3))
    pruner.set_mode(net)
    images, labels = batch()
    nn.functional.cross_entropy(net(images), labels).backward()
    loss, cost = objective(pruner, net)
    heads = pruner.program.head_parameters
    total = torch.autograd.grad(loss + cost, heads)
    pruner._gates.install()
    pruner.pull()
    for i in range(3):
        rows = pruner.program.group_of_unit == i
        h = sum((g * d.own)[rows].sum() for g, d in zip(total, derivatives))
        expected = alpha[i] - 1e4 * h
        torch.testing.assert_close(
            pruner._scaling.alpha[i], expected, rtol=1e-3, atol=1e-5
        )


def test_the_search_leaves_the_model_alone(net):
    state = copy.deepcopy(net.state_dict())
    for norms in ('eval', 'batch'):
        pruner = attached(net, norms=norms)
        optimizer = begin(pruner, net)
        net.train()
        for _ in range(3):
            net.train()  # as a training loop does
            step(pruner, net, optimizer)
            assert not net.drop.training
            norm = net.blocks[0].norm
            assert norm.training == (norms == 'batch')
        assert all(p.grad is None for p in net.parameters())
        pruner.leave(net)
        assert all(p.requires_grad for p in net.parameters())
        assert norm.track_running_stats
        for key, value in net.state_dict().items():
            assert torch.equal(value, state[key]), key


def test_what_was_frozen_stays_frozen(net):
    net.stem.requires_grad_(False)
    pruner = attached(net)
    begin(pruner, net)
    pruner.leave(net)
    assert not net.stem.weight.requires_grad
    assert net.fc.weight.requires_grad


def test_norms_of_the_batch_change_the_loss(net):
    losses = []
    for norms in ('eval', 'batch'):
        torch.manual_seed(0)
        pruner = attached(net, norms=norms)
        losses.append(step(pruner, net, begin(pruner, net)))
        pruner.leave(net)
    assert losses[0] != losses[1]


@pytest.mark.parametrize('generator', ['hsn', 'dense'])
@pytest.mark.parametrize('quantity', ['macs', 'params'])
def test_the_ratio_reaches_the_target(net, generator, quantity):
    pruner = attached(net, target={quantity: 0.4}, generator=generator)
    optimizer = begin(pruner, net, lr=1e-2)
    for _ in range(250):
        step(pruner, net, optimizer)
    ratios = []
    for _ in range(100):
        step(pruner, net, optimizer)
        ratios.append(pruner.statistics()['sampled_ratio'])
    assert sum(ratios) / len(ratios) == pytest.approx(0.4, abs=0.01)
    keep = pruner.select()
    share = pruner.cost(keep) / pruner.cost(pruner.graph.full())
    assert 0.35 < share <= 0.4


def test_gates_that_are_undecided_are_told(net):
    pruner = attached(net)
    assert pruner.statistics()['undecided'] == 1.0
    with torch.no_grad():
        pruner.program.heads.norm.mul_(100)
    assert pruner.statistics()['undecided'] < 0.8


def test_the_decision_may_be_a_draw(net):
    pruner = attached(net)
    median = pruner.select()
    pruner.decision = 'sample'
    first = pruner.select()
    assert torch.equal(first, pruner.select())
    pruner.program.step += 1
    assert not torch.equal(first, pruner.select())
    assert not torch.equal(first, median)
    full = pruner.cost(pruner.graph.full())
    assert 0.45 < pruner.cost(first) / full <= 0.5


def test_progress_is_that_of_the_decision_itself(net):
    pruner = attached(net)
    assert pruner.progress().macs == 1.0  # 0 is above log log 2
    assert pruner.progress().reached is None
    pruner.noise = 'logistic'
    scores = pruner.scores()
    keep = scores > 0
    assert pruner.progress().macs == pytest.approx(pruner.ratios(keep)[0])


def test_an_untouched_layer_is_no_part_of_the_gated_scope(net):
    pruner = attached(net, scope='gated', gates='inner')
    assert [g.name for g in pruner.graph.groups] == [
        'blocks.0.first',
        'blocks.1.first',
    ]
    stem = 9 * 11 * 10 * 27
    head = 5 * 10
    full = pruner.graph.full()
    assert pruner.cost(full) == pruner.graph.macs() - stem - head
    keep = pruner.select()
    assert 0.45 < pruner.cost(keep) / pruner.cost(full) <= 0.5
    gates = torch.ones(pruner.graph.num_units)
    begin(pruner, net)
    found = pruner.cost_gradient(gates)
    soft = gates.double().requires_grad_()
    ratio = (pruner.graph.macs(soft) - stem - head) / pruner.cost(full)
    expected = 4 * torch.log((ratio - 0.5).abs() + 1)
    torch.testing.assert_close(
        found, torch.autograd.grad(expected, soft)[0].float()
    )


def test_raw_units_are_steep(net):
    pruner, raw = attached(net), attached(net, epsilon='raw')
    gates = pruner.select().float()
    ratio = pruner.cost(gates.bool()) / pruner.cost(pruner.graph.full())
    mild, steep = pruner.cost_gradient(gates), raw.cost_gradient(gates)
    gap = abs(ratio - 0.5)
    factor = (gap + 1) / (gap + 1 / pruner.graph.macs())
    torch.testing.assert_close(steep, mild * factor)


def test_a_loss_scale_changes_nothing(net):
    states = []
    for scale in (1.0, 2.0**12):
        torch.manual_seed(1)
        model = copy.deepcopy(net)
        pruner = attached(model)
        optimizer = begin(pruner, model)
        for _ in range(3):
            pruner.set_mode(model)
            images, labels = batch()
            loss = nn.functional.cross_entropy(model(images), labels)
            (scale * loss).backward()
            pruner.loss_scale = scale
            pruner.pull()
            for parameter in pruner.program.parameters():
                parameter.grad /= scale
            optimizer.step()
            pruner.after_step(1e-3)
        states.append(
            [*pruner.program.parameters(), pruner._scaling.alpha.detach()]
        )
    for first, second in zip(*states):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)


def test_a_skipped_step_can_be_repeated(net):
    """A gradient scaler skips a step whose gradients overflow."""
    pruner = attached(net)
    optimizer = begin(pruner, net)
    step(pruner, net, optimizer)
    gates = pruner._step.gates
    alpha = pruner._scaling.alpha.clone()
    images, labels = batch()
    (net(images).sum() * float('inf')).backward()
    pruner.pull()
    assert not all(
        p.grad.isfinite().all() for p in pruner.program.parameters()
    )
    assert torch.equal(pruner._scaling.alpha, alpha)
    optimizer.zero_grad()
    step(pruner, net, optimizer)
    assert torch.equal(gates, gates.round())
    assert all(p.isfinite().all() for p in pruner.program.parameters())


def test_passes_of_one_step_see_the_same_gates(net):
    pruner = attached(net)
    optimizer = begin(pruner, net)
    gates = pruner._gates.values.clone()
    images, _ = batch()
    for _ in range(2):
        net(images).sum().backward()
        assert torch.equal(pruner._gates.values, gates)
    pruner.pull()
    optimizer.step()
    pruner.after_step(1e-3)
    assert not torch.equal(pruner._gates.values, gates)


def test_a_search_goes_on_where_it_stopped(net):
    pruner = attached(net)
    optimizer = begin(pruner, net)
    for _ in range(3):
        step(pruner, net, optimizer)
    state = copy.deepcopy(pruner.state_dict())
    steps = copy.deepcopy(optimizer.state_dict())
    other_net = copy.deepcopy(net)
    pruner.leave(other_net)
    for module in other_net.modules():
        module._forward_pre_hooks.clear()
    other = attached(other_net)
    second = torch.optim.Adam(other.program.parameters(), lr=1e-3)
    other.load_state_dict(state)
    second.load_state_dict(steps)
    other.watch(second)
    other.enter(other_net)
    other.push()
    pruner.enter(net)
    for _ in range(3):
        assert step(pruner, net, optimizer) == step(other, other_net, second)
    first, last = pruner.program.state_dict(), other.program.state_dict()
    assert all(torch.equal(first[key], last[key]) for key in first)
    assert torch.equal(pruner._scaling.alpha, other._scaling.alpha)
    assert not torch.equal(pruner._scaling.alpha, torch.ones(3))


def test_a_validation_sees_the_selection(net):
    pruner = attached(net)
    begin(pruner, net)
    net.eval()
    images, _ = batch()
    with torch.no_grad():
        full = net(images)
        pruner.preview()
        found = net(images)
    pruner.leave(net)
    shrunk = copy.deepcopy(net)
    mmdhp.shrink(shrunk, pruner.graph, pruner.select())
    torch.testing.assert_close(found, shrunk(images))
    assert not torch.equal(found, full)


def test_groups_without_gates_keep_their_width():
    class Computed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3)
            self.body = nn.Conv2d(8, 6, 3)
            self.fc = nn.Linear(6, 5)

        def forward(self, x):
            weight = self.body.weight
            x = nn.functional.conv2d(self.stem(x).relu(), weight)
            return self.fc(x.relu().mean((2, 3)))

    with pytest.warns(UserWarning, match='learns nothing about stem'):
        pruner = attached(Computed(), target={'macs': 0.7})
    assert [g.name for g in pruner.graph.groups] == ['body']


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'noise': 'gauss'}, "noise is 'gauss'; there are"),
        ({'scaling': 'sgd', 'scope': 'x'}, "scope is 'x'.*scaling is 'sgd'"),
        ({'epsilon': 0.0}, 'epsilon.* is 0.0'),
        ({'temperature': float('nan')}, 'temperature is nan'),
        ({'regularization': '4'}, "regularization is '4'"),
        ({'scaling_bounds': (2, 3)}, r'scaling_bounds is \(2, 3\)'),
        ({'scope': 'gated', 'target': {'params': 0.5}}, 'the MACs of gated'),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(ValueError, match=match):
        HSN(input_shape=SHAPE, **{'target': {'macs': 0.5}, **options})


def test_gradients_before_gates(net):
    pruner = attached(net)
    with pytest.raises(RuntimeError, match='no gates are drawn'):
        pruner.pull()
