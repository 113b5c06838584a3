"""The tool that lists groups, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmdhp

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
    assert '[output] They are what the model returns' in done.stdout
    assert 'What helps: Build the constant as a parameter' in done.stdout
    assert set(found['reasons']) == set(reasons.values())
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


@pytest.fixture(scope='module')
def pruned(config, tmp_path_factory):
    """A checkpoint of half the channels, and how many there were."""
    model = build(config)
    graph = mmdhp.trace(model, torch.zeros(2, 3, 32, 24))
    keep = graph.random_keep(0.5)
    mmdhp.shrink(model, graph, keep)
    path = tmp_path_factory.mktemp('checkpoints') / 'pruned.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return path, graph, keep


def build(config):
    import mmpretrain.models  # noqa: F401

    init_default_scope('mmpretrain')
    return MODELS.build(Config.fromfile(config).model)


def test_a_pruned_checkpoint_gives_the_widths(config, pruned, tmp_path):
    path, graph, keep = pruned
    out = tmp_path / 'groups.json'
    arguments = ('--input-shape', 3, 32, 24, '--json', out)
    done = run(config, '--checkpoint', path, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found['macs'] == graph.macs(keep)
    assert found['params_of_config'] == graph.params()
    widths = {
        g['name']: (g['units'], g['units_of_config']) for g in found['groups']
    }
    assert widths == graph.widths(keep)
    share = graph.macs(keep) / graph.macs()
    assert f'{share:.2%} and ' in done.stdout
    assert 'of what the config has' in done.stdout


def test_a_missing_checkpoint_is_told(config, tmp_path):
    shape = ('--input-shape', 3, 32, 24)
    done = run(config, *shape, '--checkpoint', tmp_path / 'no.pth')
    assert done.returncode == 1
    assert f'there is no checkpoint {tmp_path / "no.pth"}' in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_checkpoint_of_another_architecture_is_told(config, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save(torch.nn.Linear(3, 4).state_dict(), path)
    done = run(config, '--input-shape', 3, 32, 24, '--checkpoint', path)
    assert done.returncode == 1
    assert 'error: The checkpoint does not fit ImageClassifier' in done.stderr
    assert 'backbone.stem.0.weight: missing' in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_file_without_a_state_dict_is_told(config, tmp_path):
    path = tmp_path / 'list.pth'
    torch.save([1, 2], path)
    done = run(config, '--input-shape', 3, 32, 24, '--checkpoint', path)
    assert done.returncode == 1
    assert f'error: {path} (' in done.stderr
    assert 'it holds a list, not a dict of weights' in done.stderr
    assert 'Traceback' not in done.stderr
