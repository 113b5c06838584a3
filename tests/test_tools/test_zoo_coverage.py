"""The tool that examines every architecture."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mmdhp

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'analysis_tools' / 'zoo_coverage.py'

pytest.importorskip('mmengine')
sys.path.insert(0, str(TOOL.parent))

import zoo_coverage  # noqa: E402
from model_zoo import check, libraries, report  # noqa: E402
from model_zoo.entry import Entry  # noqa: E402


class Plain(nn.Module):
    """Two convolutions, a norm and a scale of zero."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, (3, 5), padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.scale = nn.Parameter(torch.zeros(8, 1, 1))
        self.head = nn.Conv2d(8, 5, 3)

    def train(self, mode=True):
        super().train(mode)  # returns nothing, as OpenMMLab's backbones

    def forward(self, x):
        return self.head(self.norm(self.stem(x)) * self.scale)


class Crashing(Plain):
    """Takes its process along."""

    def forward(self, x):
        os.kill(os.getpid(), signal.SIGSEGV)


class Endless(Plain):
    """Never returns."""

    def forward(self, x):
        time.sleep(60)


class Hungry(Plain):
    """Wants more memory than there is."""

    def forward(self, x):
        return torch.zeros(1 << 45)


class Picky(Plain):
    """Runs on one size only, which is not the first."""

    def forward(self, x):
        if x.shape[-1] != 16:
            raise ValueError(f'width {x.shape[-1]} instead of 16')
        return super().forward(x)


def unbuildable():
    raise RuntimeError('no such\nlayer')


def entry(build, shapes=((2, 3, 11, 9),)):
    return Entry('toys', build.__name__, '1', build, [shapes])


@pytest.fixture
def examined(monkeypatch, tmp_path):
    """Run the tool's main loop over some entries."""

    def run(*entries, timeout=60.0):
        toys = {'toys': lambda: iter(entries)}
        monkeypatch.setattr(zoo_coverage, 'LIBRARIES', toys)
        monkeypatch.setattr(libraries, 'LIBRARIES', toys)
        args = argparse.Namespace(
            library='all',
            filter='',
            list=False,
            ratio=0.5,
            seed=0,
            max_params=1e6,
            max_memory=1e3,
            timeout=timeout,
        )
        out = tmp_path / 'rows.json'
        record = report.Record(str(out), zoo_coverage.about(args))
        zoo_coverage.examine_all(args, record)
        return json.loads(out.read_text()), record

    return run


def by_model(found):
    return {row['model']: row for row in found['rows']}


def test_facts_of_a_network(examined):
    found, record = examined(entry(Plain))
    (row,) = found['rows']
    assert row['status'] == 'verified'
    assert row['input'] == [[2, 3, 11, 9]]
    assert row['groups'] == 1
    assert row['prunable_share'] == 1
    assert row['macs_left'] == 0.5
    stem, head = 11 * 7 * 8 * 3 * 15, 9 * 5 * 5 * 8 * 9
    assert row['macs'] == stem + head
    assert row['macs_counted'] == row['macs_predicted'] == row['macs'] / 2
    assert row['difference'] <= check.TOLERANCE
    assert row['effect'] > 0.1  # the scale of zero hides nothing
    assert row['frozen']['fixed-width']['groups'] == 1
    assert 'input' in row['frozen']['fixed-width']['reason']
    assert set(row['frozen']) == {'fixed-width'}
    assert report.problems(record.rows) == []


def test_a_broken_network_does_not_end_the_run(examined, capsys):
    kinds = [Crashing, Endless, Hungry, unbuildable]
    found, record = examined(*map(entry, [*kinds, Plain]), timeout=10.0)
    rows = by_model(found)
    problems = {
        'Crashing': 'run: the process died of SIGSEGV',
        'Endless': 'run: no end after 10 s',
        'unbuildable': 'build: RuntimeError: no such layer',
    }
    for model, problem in problems.items():
        assert rows[model]['status'] == 'failed'
        assert rows[model]['problem'] == problem
    assert rows['Hungry']['status'] == 'failed'
    assert (
        'runs on none of 1 inputs: RuntimeError' in rows['Hungry']['problem']
    )
    assert rows['Plain']['status'] == 'verified'
    shown = capsys.readouterr()
    assert '5 architectures, 4 failed, 1 traced, 1 verified' in shown.out
    assert 'failed Crashing 1: run: the process died' in shown.err
    assert report.problems(record.rows) == []  # none was traced


def test_too_many_parameters_are_not_built(examined):
    def large():
        return nn.Conv2d(3, 1 << 40, 1)

    (row,) = examined(entry(large))[0]['rows']
    assert row['status'] == 'skipped'
    assert 'more than --max-params 1 M' in row['problem']


def test_shapes_are_tried_in_order(examined):
    shapes = [((2, 3, 9, 9),), ((2, 3, 16, 16),), ((2, 3, 32, 32),)]
    picky = Entry('toys', 'Picky', '', Picky, shapes)
    strict = Entry('toys', 'Strict', '', Picky, shapes[:1])
    rows = by_model(examined(picky, strict)[0])
    assert rows['Picky']['input'] == [[2, 3, 16, 16]]
    assert 'width 9 instead of 16' in rows['Strict']['problem']


def wrong_trace(model, *args, **kwargs):
    """A graph that cuts a head's inputs, but not always the right ones."""
    graph = mmdhp.trace(model, *args, **kwargs)
    units = graph.axis_units['head.weight', 1]
    graph.axis_units['head.weight', 1] = np.roll(units, 1)
    return graph


def incomplete_trace(model, *args, **kwargs):
    """A graph that forgets an axis, so that the shrunk model cannot run."""
    graph = mmdhp.trace(model, *args, **kwargs)
    del graph.axis_units['head.weight', 1]
    return graph


@pytest.mark.parametrize(
    ('trace', 'problem'),
    [
        (wrong_trace, 'masked and shrunk outputs differ'),
        (incomplete_trace, 'the shrunk network fails: RuntimeError'),
    ],
)
def test_a_wrong_trace_is_told(examined, monkeypatch, trace, problem):
    public = {name: getattr(mmdhp, name) for name in mmdhp.__all__}
    fake = argparse.Namespace(**{**public, 'trace': trace})
    monkeypatch.setattr(check, 'mmdhp', fake)
    found, record = examined(entry(Plain))
    (row,) = found['rows']
    assert row['traced']
    assert row['status'] == 'unverified'
    assert row['problem'].startswith(problem)
    assert row['difference'] is None or row['difference'] > 1e-2
    assert report.problems(record.rows) == record.rows


def test_a_missing_library_is_told(monkeypatch, capsys):
    def broken():
        raise ImportError('needs compiled operators')

    toys = {'toys': broken}
    monkeypatch.setattr(zoo_coverage, 'LIBRARIES', toys)
    monkeypatch.setattr(libraries, 'LIBRARIES', toys)
    record = report.Record(None, {})
    args = argparse.Namespace(library='all', filter='', list=False)
    assert zoo_coverage.examine_all(args, record) == 0
    reason = 'ImportError: needs compiled operators'
    assert record.unavailable == {'toys': reason}
    assert f'toys: unavailable: {reason}' in capsys.readouterr().out


def test_earlier_rows_are_taken_over(tmp_path):
    path = str(tmp_path / 'rows.json')
    row = dict(library='toys', model='Plain', arch='1', status='verified')
    earlier = report.Record(path, dict(options=dict(seed=0)))
    earlier.add(row)
    earlier.add({**row, 'arch': '2', 'status': 'failed'})
    record = report.Record(path, dict(options=dict(seed=0)))
    record.resume()
    assert record.find('toys', 'Plain', '1') == row
    assert record.find('toys', 'Plain', '2') is None
    other = report.Record(path, dict(options=dict(seed=1)))
    with pytest.raises(SystemExit, match='seed'):
        other.resume()


def test_tables_go_between_the_markers(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(f'# Title\n\n{report.BEGIN}\nold\n{report.END}\n\nText\n')
    report.paste(str(page), 'new')
    text = page.read_text()
    assert text.startswith('# Title\n')
    assert text.endswith('Text\n')
    assert 'new' in text
    assert 'old' not in text
    page.write_text('# Title\n')
    with pytest.raises(SystemExit, match='has no region between'):
        report.paste(str(page), 'new')


def command(*arguments):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_from_the_command_line(tmp_path):
    pytest.importorskip('torchvision')
    out, page = tmp_path / 'rows.json', tmp_path / 'page.md'
    which = ('--library', 'torchvision', '--filter', 'SqueezeNet1_1')
    done = command(*which, '--json', out, '--markdown', page)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    archs = [row['arch'] for row in found['rows']]
    assert archs == ['squeezenet1_1']
    assert found['about']['options']['ratio'] == 0.5
    assert 'torchvision' in found['about']['versions']
    assert '1 architectures, 1 traced, 1 verified' in done.stdout
    assert '[1/1, 0 min left] verified squeezenet' in done.stderr
    assert '| squeezenet | squeezenet1_1 | 3x64x64 | yes |' in page.read_text()


@pytest.mark.parametrize(
    ('arguments', 'code', 'text'),
    [
        (('--filter', 'no such net'), 1, 'matches no architecture'),
        (('--filter', '('), 2, 'is no pattern'),
        (('--ratio', 1.5), 2, r'--ratio is 1.5, but must be in (0, 1]'),
        (('--resume',), 2, '--resume needs the --json file'),
    ],
)
def test_mistakes_are_told(arguments, code, text):
    pytest.importorskip('torchvision')
    done = command('--library', 'torchvision', *arguments)
    assert done.returncode == code
    assert text in done.stderr
    assert 'Traceback' not in done.stderr
