"""The tool that lists groups, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'analysis_tools' / 'channels.py'

pytest.importorskip('mmpretrain')


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp('configs') / 'resnet8.py'
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        'model = dict(\n'
        "    type='ImageClassifier',\n"
        "    backbone=dict(type='mmdhp.CIFARResNet', depth=8),\n"
        "    neck=dict(type='GlobalAveragePooling'),\n"
        "    head=dict(type='LinearClsHead', num_classes=7,\n"
        '              in_channels=64))\n'
    )
    return path


def test_lists_groups_shares_and_reasons(config, tmp_path):
    out = tmp_path / 'groups.json'
    done = run(config, '--input-shape', 3, 32, 24, '--members', '--json', out)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    names = [group['name'] for group in found['groups']]
    assert names[0] == 'backbone.stem.0'
    assert [group['units'] for group in found['groups']][:2] == [16, 16]
    assert all(0 < group['macs_share'] < 1 for group in found['groups'])
    reasons = {group['name']: group['code'] for group in found['frozen']}
    assert reasons['head.fc'] == 'output'
    assert f'{len(names)} groups can be pruned' in done.stdout
    assert 'head.fc (7) [output]: its channels are an output' in done.stdout
    assert 'backbone.stem.1.running_mean axis 0' in done.stdout


def test_exits_with_one_if_nothing_can_be_pruned(config):
    done = run(config, '--input-shape', 3, 32, 24, '--exclude', '*')
    assert done.returncode == 1
    assert '0 groups can be pruned' in done.stdout
    assert "matches '*' of `exclude`" in done.stdout


def test_input_shape_is_asked_for(config):
    done = run(config)
    assert done.returncode == 1
    assert 'has no pruner, so its input is unknown' in done.stderr
    assert 'Traceback' not in done.stderr


def test_wrong_input_shape_is_told(config):
    done = run(config, '--input-shape', 4, 32, 24)
    assert done.returncode == 1
    assert 'error: ImageClassifier cannot run on inputs' in done.stderr
    assert 'Traceback' not in done.stderr
