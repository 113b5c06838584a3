"""Latency: what is measured, kept on disk, and predicted."""

import json

import pytest
import torch
from counted import count_elements, elements_of
from torch import nn

import mmdhp
from mmdhp.costs import Latency, LatencyOptions, Meter, latency, meter, narrow
from mmdhp.costs.store import Store
from mmdhp.graph import GraphError

SHAPE = (3, 9, 7)


class Net(nn.Sequential):
    """Two groups, one operator that runs twice."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 20, 3, padding=1),
            nn.ReLU(),
            nn.ReLU(),
            nn.Conv2d(20, 12, 3),
            nn.Conv2d(12, 5, 1),
        )


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def graph(net):
    return mmdhp.trace(net, torch.zeros(2, *SHAPE))


def metered(net, graph, folder, divisor=1, **options):
    options = {'input_shape': SHAPE, 'cache': str(folder), **options}
    return Meter(net, graph, LatencyOptions(**options), divisor=divisor)


def test_predictions_are_exact_where_time_is_bilinear(
    net, graph, tmp_path, monkeypatch
):
    count_elements(monkeypatch)
    cost = metered(net, graph, tmp_path).latency(graph.full())
    assert cost.overhead == pytest.approx(7.0)
    assert cost.scale == pytest.approx(1.0)
    for seed in range(3):
        keep = graph.random_keep(0.3 + 0.2 * seed, seed)
        expected = 7.0 + elements_of(cost.plan, keep)
        assert cost.value(keep) == pytest.approx(expected)
        full = 7.0 + elements_of(cost.plan, graph.full())
        assert cost.share(keep) == pytest.approx(expected / full)
    gates = graph.full().double().requires_grad_()
    (slope,) = torch.autograd.grad(cost.soft(gates), gates)
    assert slope.min() > 0


def test_what_is_on_disk_is_not_measured_again(
    net, graph, tmp_path, monkeypatch
):
    runs = count_elements(monkeypatch)
    first = metered(net, graph, tmp_path).measure()
    done = len(runs)
    assert done > 0
    assert metered(net, graph, tmp_path).measure() == first
    assert len(runs) == done
    with_divisor = metered(net, graph, tmp_path, divisor=8).measure()
    assert with_divisor.keys() != first.keys()
    assert len(runs) > done
    (path,) = tmp_path.iterdir()
    content = json.loads(path.read_text())
    assert content['environment']['threads'] == 1
    path.write_text('{"numbers": ')  # as if a disk had been full
    assert metered(net, graph, tmp_path).measure() == first


def test_a_cache_of_another_machine_is_ignored(tmp_path):
    store = Store({'device': 'a'}, str(tmp_path))
    store.save({'x': [1.0]})
    assert Store({'device': 'a'}, str(tmp_path)).numbers == {'x': [1.0]}
    assert Store({'device': 'b'}, str(tmp_path)).numbers == {}
    other = Store({'device': 'a'}, str(tmp_path))
    store.save({'y': [2.0]})
    other.save({'z': [3.0]})  # both are kept
    assert set(Store({'device': 'a'}, str(tmp_path)).numbers) == set('xyz')


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / 'file').touch()
    store = Store({}, str(tmp_path / 'file'))
    with pytest.warns(UserWarning, match='Latencies cannot be kept in .*file'):
        store.save({'x': [1.0]})
    assert store.numbers == {'x': [1.0]}


def test_the_folder_may_be_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDHP_CACHE', str(tmp_path / 'here'))
    assert Store({}).path.parent == tmp_path / 'here'
    monkeypatch.delenv('MMDHP_CACHE')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert Store({}).path.parent == tmp_path / 'mmdhp'


def test_a_time_limit_keeps_what_is_done(net, graph, tmp_path, monkeypatch):
    runs = count_elements(monkeypatch)
    times = iter([0.0, 0.0, 1.0, 1.0, 3.0, 3.0, 3.0])
    monkeypatch.setattr(meter.time, 'monotonic', lambda: next(times))
    slow = metered(net, graph, tmp_path, time_limit=2.0)
    monkeypatch.setattr(meter.ProgressBar, 'show', lambda self, done: None)
    monkeypatch.setattr(
        meter.ProgressBar, '__init__', lambda self, title, total: None
    )
    with pytest.raises(GraphError, match=r'time_limit=2 s: 1 of 4 operators'):
        slow.measure()
    assert len(runs) == 1
    monkeypatch.undo()
    runs = count_elements(monkeypatch)
    metered(net, graph, tmp_path).measure()
    assert len(runs) == 3 + 1  # the network itself


def test_a_resumed_run_decides_by_its_own_table(
    net, graph, tmp_path, monkeypatch
):
    count_elements(monkeypatch)
    first = metered(net, graph, tmp_path / 'a').latency(graph.full())
    count_elements(monkeypatch, unit=3.0)
    other = metered(net, graph, tmp_path / 'b').latency(graph.full())
    keep = graph.random_keep(0.4)
    assert other.value(keep) != pytest.approx(first.value(keep))
    other.load_state_dict(first.state_dict())
    assert other.value(keep) == first.value(keep)
    assert other.full == first.full
    state = first.state_dict()['measurements']
    state = {key: state[key] for key in list(state)[1:]}
    with pytest.raises(ValueError, match='lacks 1 of 5 measurements, such as'):
        other.load_state_dict({'measurements': state})


def test_what_does_not_run_alone_is_a_constant(
    net, graph, tmp_path, monkeypatch
):
    count_elements(monkeypatch)
    prepare = meter.Operator.prepare

    def fails(operator, widths, device):
        if 'relu' in operator.call.operator and widths != operator.sizes:
            raise RuntimeError('such widths are not known')
        return prepare(operator, widths, device)

    monkeypatch.setattr(meter.Operator, 'prepare', fails)
    own = metered(net, graph, tmp_path)
    with pytest.warns(UserWarning, match=r'1 operators .* \(aten.relu.def'):
        found = own.measure()
    relu = next(value for key, value in found.items() if 'relu' in key)
    assert len(relu) > 1
    assert len(set(relu)) == 1


def test_overhead_and_scale_are_never_negative():
    assert latency.fit([1.0, 2.0], [5.0, 8.0]) == (2.0, 3.0)
    overhead, scale = latency.fit([1.0, 2.0, 4.0], [1.0, 3.0, 7.0])
    assert overhead == 0.0
    assert scale > 0


@pytest.mark.parametrize(
    ('options', 'error', 'match'),
    [
        (3, TypeError, 'latency is 3, but a dict of options'),
        (
            {'batchsize': 2},
            TypeError,
            "'batchsize'; did you mean 'batch_s",
        ),
        ({'rounds': 0}, ValueError, 'rounds is 0, but an int'),
        ({'time_limit': 0}, ValueError, 'time_limit is 0, but seconds'),
        ({'input_shape': 32}, ValueError, 'input_shape is 32, but sizes'),
        ({'cache': 1}, ValueError, 'cache is 1, but a folder'),
    ],
)
def test_options_that_do_not_fit_are_told(options, error, match):
    with pytest.raises(error, match=match):
        LatencyOptions.parse(options)


def test_options_are_read_from_a_config():
    found = LatencyOptions.parse({'input_shape': [3, 5, 7], 'num_threads': 2})
    assert found.input_shape == (3, 5, 7)
    assert LatencyOptions.parse(None) == LatencyOptions()
    assert LatencyOptions.parse(found) is found


def test_a_real_clock_gives_times_that_rise_with_the_widths(tmp_path):
    """How well they predict is no test of a busy machine: docs/targets.md."""
    net = nn.Sequential(
        nn.Conv2d(3, 48, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(48, 48, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(48, 4, 3),
    )
    shape = (3, 40, 40)
    graph = mmdhp.trace(net, torch.zeros(2, *shape))
    options = LatencyOptions(shape, rounds=3, cache=str(tmp_path))
    own = Meter(net, graph, options, divisor=16)
    cost = own.latency(graph.full())
    keep = narrow(graph, 2 / 3)
    full, pruned = own.networks([graph.full(), keep])
    assert min(full, pruned) > 0
    assert 0 < cost.share(narrow(graph, 1 / 3)) <= cost.share(keep) <= 1
    assert isinstance(cost, Latency)
    assert [p.shape[0] for p in net[0].parameters()] == [48, 48]
