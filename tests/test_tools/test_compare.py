"""Runs side by side, read from what they have written."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from toy import ToyNet, config, train

TOOLS = Path(__file__).parents[2] / 'tools' / 'analysis_tools'


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(TOOLS))
    import compare

    yield compare
    sys.path.remove(str(TOOLS))


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A baseline and a pruned run."""
    folder = tmp_path_factory.mktemp('runs')
    cfg = config(folder / 'plain', custom_hooks=[])
    cfg.optim_wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.05}}
    train(cfg)
    train(config(folder / 'pruned_run'))
    return folder


def run(tool, monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['compare.py', *map(str, arguments)])
    tool.main()


def test_table_and_plot(tool, runs, tmp_path, monkeypatch, capsys):
    names = ['base=' + str(runs / 'plain'), runs / 'pruned_run']
    run(
        tool,
        monkeypatch,
        *names,
        '--latency',
        '--rounds',
        3,
        '--published',
        'ResNet-20',
        'CIFAR-10',
        '--out-dir',
        tmp_path,
    )
    shown = capsys.readouterr().out
    plain, pruned = json.loads((tmp_path / 'compare.json').read_text())['runs']
    assert (plain['name'], pruned['name']) == ('base', 'pruned_run')
    assert (plain['method'], pruned['method']) == ('original', 'DHP')
    counter = FlopCounterMode(display=False)
    with counter:
        ToyNet()(torch.zeros(1, 3, 9, 11))
    assert plain['macs'] * 2 == counter.get_total_flops()
    assert plain['params'] == sum(p.numel() for p in ToyNet().parameters())
    exported = json.loads(
        (runs / 'pruned_run/pruned/channels.json').read_text()
    )
    assert pruned['score'] == exported['metrics']['score']
    ratio = exported['macs']['ratio']
    assert pruned['macs_percent'] == pytest.approx(100 * ratio)
    assert plain['latency_ratio'] == 1
    assert pruned['milliseconds'] > 0
    assert 'Published (ResNet-20, CIFAR-10)' in shown
    assert f'{pruned["macs_percent"]:.1f}' in shown
    assert (tmp_path / 'compare.png').stat().st_size > 5000
    assert 'pruned_run' in (tmp_path / 'compare.md').read_text()


def test_accuracies_are_shown_as_errors(tool):
    found = {'accuracy/top1': 91.5, 'PSNR': 30.0}
    assert tool.quality(found, 'accuracy/top1') == 8.5
    assert tool.quality(found, 'PSNR') == 30.0
    assert tool.label_of('accuracy/top1') == 'top1 error %'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{}/nowhere'], 'there is no folder'),
        (['{}'], r'neither a pruned run .*has 0 configs and 0 logs'),
        (['{}/pruned_run', '--metric', 'top1'], 'do not share top1.*score'),
        (['{}/plain'], 'none of the runs was pruned'),
        (
            ['{}/pruned_run', '--published', 'ResNet-20', 'MNIST'],
            r'no published figures for ResNet-20 MNIST; there are .*CIFAR-10',
        ),
    ],
)
def test_what_cannot_be_compared(tool, runs, monkeypatch, arguments, message):
    arguments = [argument.format(runs) for argument in arguments]
    with pytest.raises(SystemExit, match=message):
        run(tool, monkeypatch, *arguments)
