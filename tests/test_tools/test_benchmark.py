"""The benchmark: all parts run, on networks so small that nothing is timed.

What a time should be is not tested, but what stands beside it: that both
sides compute the same, that budgets are met, that exponents are right.
"""

import ctypes
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toy import ToyNet

import mmdhp
from mmdhp.costs.timing import interleaved
from mmdhp.programs import HyperNetwork

TOOLS = Path(__file__).parents[2] / 'tools' / 'analysis_tools'
CPU = torch.device('cpu')
sys.path.insert(0, str(TOOLS))

import benchmark  # noqa: E402
from benchmarks import (  # noqa: E402
    generation,
    growth,
    latency,
    measuring,
    networks,
    search,
)
from benchmarks import trace as tracing  # noqa: E402
from model_zoo.entry import Entry  # noqa: E402

ONCE = ('--rounds', '1', '--device', 'cpu')


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the tool in this process; return what it prints."""

    def tool(*arguments):
        monkeypatch.setattr(sys, 'argv', ['benchmark.py', *arguments])
        benchmark.main()
        return capsys.readouterr().out

    return tool


@pytest.fixture
def run_alone():
    """Run the tool; forks of a process that has run others may be refused.

    PyTorch lets no fork differentiate once it has started threads for that,
    as other tests in the same process may.
    """

    def tool(*arguments):
        command = [sys.executable, str(TOOLS / 'benchmark.py'), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return tool


def rows(out, start):
    """Cells of the lines that start so."""
    lines = [line for line in out.splitlines() if line.startswith(start)]
    return [re.split(r'  +', line.strip()) for line in lines]


def test_without_a_command_it_says_what_each_measures(run):
    out = run()
    for name, part in benchmark.PARTS.items():
        first = part.__doc__.partition('\n')[0]
        assert f'{name} {first}' in ' '.join(out.split())


def test_ratios_are_those_of_the_rounds():
    assert measuring.ratios([2.0, 4.0], [1.0, 5.0]) == [2.0, 0.8]


# --------------------------------------------------------------------- search
def test_search_measures_every_method(run):
    methods = ('dhp', 'hsn', 'lwdna')
    out = run(
        'search', 'resnet20', '--batch', '2', '--method', *methods, *ONCE
    )
    found = rows(out, 'resnet20')
    assert [row[1] for row in found] == list(methods)
    for row in found:
        assert row[2:4] == ['2x3x32x32', '64']
        plain, searched = map(float, row[4:6])
        ratio = float(row[6].partition(' ')[0])
        assert ratio == pytest.approx(searched / plain, rel=0.02)


def test_search_of_lwdna_widens_both_networks():
    network = networks.NETWORKS['resnet20']
    wide = search.model_of(network, 'lwdna', CPU)
    assert wide.stem[0].out_channels == 32
    assert search.model_of(network, 'dhp', CPU).stem[0].out_channels == 16


def test_a_search_step_changes_the_weights():
    network = networks.NETWORKS['resnet20']
    model = search.model_of(network, 'dhp', CPU)
    step = search.search_step(model, network, 'dhp', torch.rand(2, 3, 32, 32))
    before = model.stem[0].weight.clone()
    step()
    assert (model.stem[0].weight != before).any()


# ----------------------------------------------------------------- generation
def test_per_layer_generates_the_same_and_has_the_same_gradients():
    torch.manual_seed(0)
    model = ToyNet().double()
    inputs = torch.zeros(2, 3, 8, 8).double()
    program = HyperNetwork(model, mmdhp.trace(model, inputs))
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.normal_()
    layers = generation.PerLayer(program)
    program.push()
    weights = layers()
    for found, weight in zip(weights, program.weights):
        torch.testing.assert_close(found, weight.parameter)
    grads = generation.gradients(program)
    torch.autograd.backward(weights, grads)
    for weight, grad in zip(program.weights, grads):
        weight.parameter.grad = grad
    program.pull()
    torch.testing.assert_close(layers.latent.grad, program.latent.grad)
    own = [p.grad.square().sum() for p in layers.layers.parameters()]
    flat = [p.grad.square().sum() for p in program.banks.parameters()]
    torch.testing.assert_close(sum(own), sum(flat))


def test_generation_compares_both(run_alone):
    (row,) = rows(run_alone('generation', 'resnet20', *ONCE), 'resnet20')
    assert row[1] == '270.3 k'
    flat, layered = map(float, row[2:4])
    ratio = float(row[4].partition(' ')[0])
    assert ratio == pytest.approx(layered / flat, rel=0.05)


def test_cpu_time_leaves_out_waiting(run_alone):
    out = run_alone('generation', 'resnet20', '--clock', 'cpu', *ONCE)
    assert '1 rounds, cpu clock' in out
    clock = measuring.CLOCKS['cpu']
    (waited,) = interleaved([lambda: time.sleep(0.3)], CPU, 1, clock=clock)
    assert waited[0] < 0.1


def peak_beside_ballast():
    """What two tensors of 80 MiB take, beside one of 320 MiB."""
    size = 40 * 2**20

    def prepare():
        ballast = torch.ones(size * 2)
        return lambda: torch.ones(size // 2) + ballast[0]

    return measuring.peak_memory(prepare, CPU)


def test_memory_is_that_of_the_call_alone():
    # Linux counts pages per CPU, in batches; on a machine of many CPUs that
    # is tens of MiB.
    assert 100 < peak_beside_ballast() < 260


def test_memory_is_a_lower_bound_where_the_mark_stays(monkeypatch):
    monkeypatch.setattr(measuring, '_PROCESS', Path('/nowhere'))
    assert 0 <= peak_beside_ballast() < 260


def test_memory_that_was_freed_before_counts():
    libc = ctypes.CDLL(None)
    if not hasattr(libc, 'mallopt'):
        pytest.skip('needs an allocator that can be told to keep memory')

    def prepare():
        libc.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: all from the heap
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: keep what is freed
        torch.ones(40 * 2**20)
        return lambda: torch.ones(30 * 2**20)

    assert 90 < measuring.peak_memory(prepare, CPU) < 150


def test_a_failure_under_the_memory_test_is_named():
    def prepare():
        raise OSError('no such weights')

    with pytest.raises(measuring.MeasurementError, match='no such weights'):
        measuring.peak_memory(prepare, CPU)


# ---------------------------------------------------------------------- trace
class Unrunnable(torch.nn.Conv2d):
    def forward(self, x):
        raise RuntimeError('needs a sample')


def test_trace_compares_with_torch_pruning(run, monkeypatch):
    pytest.importorskip('torch_pruning')
    shapes = [((2, 3, 8, 8),)]
    entries = [
        Entry('toys', 'ToyNet', '', ToyNet, shapes),
        Entry('toys', 'Bad', '', lambda: Unrunnable(3, 5, 3), shapes),
        Entry('toys', 'Other', '', ToyNet, shapes),
    ]
    monkeypatch.setattr(tracing, 'chosen', lambda: entries)
    out = run('trace', '--filter', 'ToyNet|Bad', *ONCE)
    good, bad = rows(out, 'toys')
    own, peer = map(float, good[2:4])
    ratio = float(good[4].partition(' ')[0])
    assert ratio == pytest.approx(own / peer, rel=0.05)
    assert all(cell.isdigit() for cell in good[5:])
    assert 'needs a sample' in bad[2]


def test_trace_lists_a_dozen_networks():
    pytest.importorskip('mmpretrain')
    pytest.importorskip('torchvision')
    entries = tracing.chosen()
    assert len({entry.name for entry in entries}) == len(entries) >= 12
    (entry,) = [e for e in entries if e.name == 'mmpretrain ShuffleNetV2']
    assert type(entry.build()).__name__ == 'ShuffleNetV2'


# -------------------------------------------------------------------- latency
def test_latency_compares_networks_of_one_budget(run):
    pytest.importorskip('torch_pruning')
    out = run('latency', 'resnet20', '--divisors', '1', '8', *ONCE)
    found = {row[1]: row[2:] for row in rows(out, 'resnet20 1x3x32x32')}
    kinds = ['searched', 'uniform', 'Torch-Pruning']
    rounded = [f'{kind}, divisor 8' for kind in kinds]
    assert list(found) == ['original', *kinds, *rounded]
    assert float(found['original'][0]) == 1
    for kind in (*kinds, *rounded):
        assert 0.25 < float(found[kind][0]) <= 0.45
    assert float(found['searched'][0]) > 0.445
    for macs, _, ratio, quotient in found.values():
        own = float(quotient.partition(' ')[0])
        assert own == pytest.approx(float(ratio) / float(macs), rel=0.05)


def test_a_divisor_that_no_width_fits_is_left_out(run):
    out = run('latency', 'resnet20', '--divisors', '8', '32', *ONCE)
    assert 'Left out: divisor 32. The target 0.45 cannot be reached' in out
    found = [row[1] for row in rows(out, 'resnet20 1x3x32x32')]
    assert 'searched, divisor 8' in found
    assert not any('32' in kind for kind in found)


def test_masks_of_the_latency_test_have_the_divisor():
    network = networks.NETWORKS['resnet20']
    model = networks.build(network, CPU)
    graph = networks.trace(model, network)
    budget = 0.45 * int(graph.macs())
    for keep in (
        latency.searched(graph, budget, 8, 0.3),
        latency.uniform(graph, budget, 8),
    ):
        widths = [kept for kept, _ in graph.widths(keep).values()]
        assert all(width % 8 == 0 for width in widths)
        assert int(graph.macs(keep)) <= budget


def test_torch_pruning_leaves_sub_pixels_alone():
    network = networks.NETWORKS['srresnet']
    model = networks.build(network, CPU)
    graph = networks.trace(model, network)
    fixed = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Conv2d)
        and not latency._is_free(graph, name)
    ]
    assert len(fixed) == 3  # two before pixel shuffles, one makes the image
    assert sum('upsampler' in name for name in fixed) == 2


def test_macs_of_a_network_whose_ties_torch_pruning_cut():
    pytest.importorskip('torch_pruning')
    network = networks.NETWORKS['srresnet']
    shape = (3, 8, 8)
    model = networks.build(network, CPU)
    full = latency.macs_of(model, network, shape)
    with torch.enable_grad():
        latency.cut_by_torch_pruning(model, network, shape, 0.5, 8)
    assert 0.2 < latency.macs_of(model, network, shape) / full < 0.6


# --------------------------------------------------------------------- growth
@pytest.mark.parametrize('power', [0.5, 1, 2])
def test_exponent_is_that_of_a_power_law(power):
    sizes = [20, 56, 110, 1001]
    costs = [0.3 * size**power for size in sizes]
    assert measuring.exponent(sizes, costs) == pytest.approx(power)


def test_growth_fits_an_exponent_to_every_cost(run, monkeypatch):
    monkeypatch.setattr(growth, '_DEPTH', 8)
    sizes = ('--depths', '8', '14', '--widths', '0.5', '1')
    out = run('growth', *sizes, *ONCE)
    units = [int(row[2]) for row in rows(out, ('depth', 'width'))]
    assert units == [160, 272, 80, 160]
    exponents = rows(out, 'exponent')
    names = [row[0] for row in exponents]
    assert names == [
        f'exponent, by {n}' for n in ('layers', 'units', 'params')
    ]
    assert all(len(row) == 1 + len(growth.COSTS) for row in exponents)


# --------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['search', 'resnet57'], 'resnet57.*resnet56'),
        (['generation', 'vgg'], 'vgg.*resnet56'),
        (['latency', 'vgg'], 'vgg.*resnet56'),
        (['latency', '--macs', '1.5'], '1.5, not in'),
        (['growth', '--rounds', '0'], 'rounds is 0'),
        (['trace', '--filter', 'unheard-of'], "'unheard-of'"),
    ],
)
def test_mistakes_are_named(run, arguments, message):
    pytest.importorskip('torch_pruning')
    with pytest.raises(SystemExit, match=message):
        run(*arguments)
