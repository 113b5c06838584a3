"""Every method meets every target, and several at once."""

import contextlib

import pytest
import torch
import toy
from counted import count_elements, elements_of
from torch import nn

from mmdhp.graph import GraphError
from mmdhp.methods import DHP, HSN, LWDNA, OneShot, Progress
from mmdhp.registry import MODELS

SHAPE = (3, 11, 9)
METHODS = {'dhp': DHP, 'hsn': HSN, 'lwdna': LWDNA, 'oneshot': OneShot}


class Net(nn.Module):
    """Three groups, a residual connection, a norm."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, padding=1)
        self.norm = nn.BatchNorm2d(24)
        self.inner = nn.Conv2d(24, 40, 3, padding=1)
        self.outer = nn.Conv2d(40, 24, 1)
        self.tail = nn.Conv2d(24, 32, 3)
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = x + self.outer(self.inner(x).relu())
        return self.fc(self.tail(x).relu().mean((2, 3)))


@pytest.fixture(autouse=True)
def counted(monkeypatch, tmp_path):
    """Latency is counted, not measured."""
    monkeypatch.setenv('MMDHP_CACHE', str(tmp_path))
    return count_elements(monkeypatch)


def attached(method='dhp', target=None, **options):
    torch.manual_seed(0)
    options = {'min_channels': 2, **options}
    pruner = METHODS[method](target or {'latency': 0.5}, SHAPE, **options)
    net = Net().eval()
    told = contextlib.nullcontext()
    if method == 'lwdna':
        told = pytest.warns(UserWarning, match='Net is not widened')
    with told:
        pruner.attach(net)
    return pruner, net


TARGETS = [
    {'memory': 0.6},
    {'latency': 0.5},
    {'macs': 0.5, 'latency': 0.6},
    {'params': 0.5, 'macs': 0.45, 'memory': 0.7, 'latency': 0.6},
]


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('target', TARGETS, ids='-'.join)
@pytest.mark.parametrize('divisor', [1, 8])
def test_all_parts_of_a_target_are_met(method, target, divisor):
    pruner, _ = attached(method, target, divisor=divisor)
    keep = pruner.select()
    shares = pruner.goal.shares(keep)
    assert shares.keys() == target.keys()
    assert all(shares[key] <= target[key] for key in target)
    tight = max(shares[key] / target[key] for key in target)
    assert tight > (0.9 if divisor == 1 else 0.7)
    for kept, total in pruner.graph.widths(keep).values():
        assert kept % divisor == 0 or kept == total


def test_the_binding_part_decides():
    loose, _ = attached(target={'macs': 0.5, 'latency': 0.99})
    alone, _ = attached(target={'macs': 0.5})
    assert torch.equal(loose.select(), alone.select())
    tight, _ = attached(target={'macs': 0.5, 'latency': 0.3})
    assert tight.select().sum() < alone.select().sum()


def test_what_cannot_be_reached_says_what_can():
    target = {'macs': 0.5, 'memory': 0.01, 'latency': 0.02}
    with pytest.raises(GraphError) as error:
        attached(target=target, min_channels=8)
    message = str(error.value)
    assert 'target 0.01 cannot be reached' in message
    assert 'target 0.02 cannot be reached' in message
    assert 'target 0.5' not in message
    assert '(activation memory: 0.' in message
    assert '(latency: 0.' in message
    assert 'They come from min_channels=8' in message
    _, _, rest = message.partition('(latency: ')
    least = float(rest.partition(' to 1')[0])
    pruner, _ = attached(target={'latency': least}, min_channels=8)
    assert {k for k, _ in pruner.graph.widths(pruner.select()).values()} == {8}


def test_a_search_may_stop_once_all_parts_are_near():
    target = {'macs': 0.5, 'latency': 0.9}
    pruner, _ = attached(target=target, stop_limit=0.02)
    keep = pruner.select()
    with torch.no_grad():
        pruner.latent[~keep] = 0.0
        pruner.latent[keep] = 1.0
    progress = pruner.progress()
    assert progress.reached
    assert progress.others.keys() == {'latency'}
    with torch.no_grad():
        pruner.latent.fill_(1.0)
    assert pruner.progress() == Progress(1.0, 1.0, False, {'latency': 1.0})


@pytest.mark.parametrize('target', TARGETS, ids='-'.join)
def test_the_penalty_is_that_of_the_scarcest(target):
    pruner, _ = attached('hsn', target)
    gates = pruner.graph.full().double()
    gates[::3] = 0.0
    found = pruner.cost_gradient(gates)
    soft = gates.clone().requires_grad_()
    goal = pruner.goal
    shares = {k: c.soft(soft) / c.full for k, c in goal.costs.items()}
    name = max(shares, key=lambda key: shares[key].item() / target[key])
    penalty = 4.0 * torch.log((shares[name] - target[name]).abs() + 1)
    torch.testing.assert_close(found, torch.autograd.grad(penalty, soft)[0])
    assert found.abs().max() > 0
    assert pruner._last['sampled_ratio'] == pytest.approx(shares[name].item())


def test_raw_units_need_units():
    with pytest.raises(ValueError, match="epsilon is 'raw'.*no smallest unit"):
        attached('hsn', {'macs': 0.5, 'latency': 0.5}, epsilon='raw')
    attached('hsn', {'memory': 0.5}, epsilon='raw')


def test_of_a_widened_model_the_baseline_counts():
    target = {'latency': 1.0, 'memory': 1.0}
    with MODELS.switch_scope_and_registry('mmdhp') as registry:
        registry.import_from_location()
    wide = LWDNA(target, toy.SHAPE)
    wide.attach(MODELS.build(toy.lwdna()['model']))
    plain = HSN(target, toy.SHAPE)
    plain.attach(toy.ToyNet())
    for quantity, cost in wide.goal.costs.items():
        assert cost.full == pytest.approx(plain.goal.costs[quantity].full)
        assert cost.value(wide.graph.full()) > 1.2 * cost.full
    assert max(wide.goal.shares(wide.select()).values()) <= 1


def test_a_search_resumes_with_its_table(monkeypatch, tmp_path):
    first, _ = attached()
    state = first.state_dict()
    monkeypatch.setenv('MMDHP_CACHE', str(tmp_path / 'other'))
    count_elements(monkeypatch, unit=0.01)  # another machine, faster
    second, _ = attached()
    assert second.goal.shares(first.select()) != first.goal.shares(
        first.select()
    )
    second.load_state_dict(state)
    assert torch.equal(second.select(), first.select())
    assert second.goal.first.full == first.goal.first.full
    plain, _ = attached(target={'macs': 0.5})
    assert 'costs' not in plain.state_dict()


def test_the_verdict_is_measured():
    pruner, _ = attached()
    keep = pruner.select()
    found = pruner.measure(keep)
    plan = pruner.meter.plan
    assert found == {
        'original': 7.0 + elements_of(plan, pruner.graph.full()),
        'pruned': 7.0 + elements_of(plan, keep),
    }
    assert attached(target={'macs': 0.5})[0].measure(keep) == {}
