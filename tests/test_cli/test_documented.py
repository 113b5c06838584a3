"""All commands of docs/command_line.md, in order, on a small network."""

import json
import shlex
from pathlib import Path

import pytest
from test_config import SIZE
from test_docs import blocks
from toy import config

from mmdhp.cli import COMMANDS, main

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'command_line.md'
BASE = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
TOLD = {'inspect', 'config', 'prune'}  # commands that need the input's shape
ELSEWHERE = {'report', 'export'}  # documented and run on pages of their own


def commands():
    lines = '\n'.join(blocks(PAGE, 'bash')).splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def write_base(path):
    """The toy's plain training, under the name of the page's example."""
    cfg = config('unused', by_epoch=True)
    for key in ('custom_hooks', 'work_dir', 'experiment_name'):
        cfg.pop(key)
    cfg.optim_wrapper = {'optimizer': cfg.optim_wrapper.optimizer}
    cfg.dump(str(path))


def call(arguments):
    """Run a command; a script's exit counts like a return."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code or 0


def test_the_page_names_all_commands():
    named = {line[1] for line in commands()}
    assert named == set(COMMANDS) - ELSEWHERE
    for name in COMMANDS:
        assert f'| `mmdhp {name} ' in PAGE.read_text()


def test_every_command_of_the_page_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip('matplotlib')
    monkeypatch.chdir(tmp_path)
    write_base(tmp_path / Path(BASE).name)
    for program, *arguments in commands():
        assert program == 'mmdhp'
        given = [a.replace(BASE, Path(BASE).name) for a in arguments]
        given = [a.replace('epoch_200', 'epoch_2') for a in given]
        if given[0] in TOLD:
            given += SIZE
        assert call(given) == 0, given
    made = tmp_path / 'work_dirs'
    assert (made / 'my_config/pruned/pruned.pth').is_file()
    assert (made / 'small/pruned/pruned.pth').is_file()
    assert (made / 'fine_tune/last_checkpoint').is_file()
    compared = json.loads((made / 'compare/compare.json').read_text())
    assert [row['name'] for row in compared['runs']] == ['original', 'dhp']
    assert compared['runs'][1]['macs_percent'] <= 50
