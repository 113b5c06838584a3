"""The tool that compares widths, run as a user runs it."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'analysis_tools' / 'widths.py'

CONTENT = {
    'method': 'LWDNA',
    'macs': {'original': 4000, 'pruned': 3996, 'ratio': 0.999},
    'params': {'original': 200, 'pruned': 150, 'ratio': 0.75},
    'groups': [
        {'name': 'stem', 'kept': 20, 'total': 16},
        {'name': 'layer1.conv1', 'kept': 24, 'total': 32},
        {'name': 'layer2.conv1', 'kept': 64, 'total': 64},
    ],
}


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def write(folder, content=CONTENT):
    (folder / 'pruned').mkdir(parents=True)
    path = folder / 'pruned' / 'channels.json'
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize('part', ['', 'pruned', 'pruned/channels.json'])
def test_shows_growth_wherever_the_path_points(tmp_path, part):
    write(tmp_path / 'seed_0')
    done = run(tmp_path / 'seed_0' / part)
    assert done.returncode == 0, done.stderr
    cells = [line.split() for line in done.stdout.splitlines()]
    assert cells[0] == ['group', 'baseline', 'seed_0', 'growth']
    assert cells[2:5] == [
        ['stem', '16', '20', '+25%'],
        ['layer1.conv1', '32', '24', '-25%'],
        ['layer2.conv1', '64', '64', '+0%'],
    ]
    assert 'seed_0 (LWDNA): 1 groups are wider' in done.stdout
    assert '1 narrower, 1 equal; 3.996 k of 4.000 k MACs' in done.stdout


def test_draws_several_runs(tmp_path):
    write(tmp_path / 'a')
    write(tmp_path / 'b' / 'a')
    done = run(
        tmp_path / 'a', tmp_path / 'b/a', '--plot', tmp_path / 'widths.png'
    )
    assert done.returncode == 0, done.stderr
    assert 'a (2) (LWDNA)' in done.stdout
    assert (tmp_path / 'widths.png').read_bytes().startswith(b'\x89PNG')


def test_other_networks_are_refused(tmp_path):
    other = copy.deepcopy(CONTENT)
    other['groups'][1]['total'] = 48
    write(tmp_path / 'a')
    write(tmp_path / 'b', other)
    done = run(tmp_path / 'a', tmp_path / 'b')
    assert done.returncode == 1
    assert 'layer1.conv1 has 48 channels in its baseline against 32' in (
        done.stderr
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'there is no channels.json in'),
        ('{', 'channels.json: Expecting'),
        ('{"groups": []}', 'has no macs, params, method'),
    ],
)
def test_a_wrong_file_is_told(tmp_path, text, message):
    if text is not None:
        write(tmp_path / 'run').write_text(text)
    done = run(tmp_path / 'run')
    assert done.returncode == 1
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


def test_an_unknown_format_of_the_plot_is_told(tmp_path):
    write(tmp_path / 'run')
    done = run(tmp_path / 'run', '--plot', tmp_path / 'widths.docx')
    assert done.returncode == 1
    assert 'widths.docx: Format' in done.stderr
    assert 'Traceback' not in done.stderr
