"""The command itself: what it knows, how fast it answers."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mmdhp.cli import COMMANDS, SCRIPTS, main
from mmdhp.cli.options import parse_target
from mmdhp.cli.script import find_script
from mmdhp.version import __version__

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(set(COMMANDS) - set(SCRIPTS))


def shell(*arguments, python=()):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, *python, '-m', 'mmdhp', *arguments],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )


def child_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_help_names_every_command():
    done = shell('--help')
    assert done.returncode == 0
    for name, text in COMMANDS.items():
        assert f'  {name} ' in done.stdout
        assert text in done.stdout


def test_the_help_takes_less_than_a_third_of_a_second():
    seconds = []
    for _ in range(3):
        before = child_seconds()
        assert shell('--help').returncode == 0
        seconds.append(child_seconds() - before)
    assert min(seconds) < 0.3


@pytest.mark.parametrize('name', ['--help', *MODULES])
def test_no_help_imports_pytorch(name):
    arguments = [name] if name == '--help' else [name, '--help']
    done = shell(*arguments, python=['-X', 'importtime'])
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition('|')[2].strip() for line in _times(done)}
    assert 'mmdhp.cli' in imported
    assert not imported & {'torch', 'mmengine', 'mmcv'}


def _times(done):
    return [line for line in done.stderr.splitlines() if '|' in line]


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, '--help'])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f'usage: mmdhp {name} ')
    assert '--' in shown


def test_without_a_command_there_is_help(capsys):
    assert main([]) == 0
    assert 'mmdhp COMMAND --help tells more' in capsys.readouterr().out


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['--version'])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f'mmdhp {__version__}\n'


def test_a_misspelt_command_is_named(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['inspct'])
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert "error: there is no command 'inspct'" in shown
    assert "Did you mean 'inspect'?" in shown


def test_scripts_get_their_arguments_and_leave_no_trace(capsys):
    before = list(sys.argv), list(sys.path)
    with pytest.raises(SystemExit) as ended:
        main(['train', 'absent.py'])
    assert str(ended.value.code).startswith(
        'error: there is no config absent.py.'
    )
    assert (sys.argv, sys.path) == before


def test_a_missing_script_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr('mmdhp.cli.script.PACKAGE', str(tmp_path / 'mmdhp'))
    with pytest.raises(FileNotFoundError, match='tools/train.py belongs to'):
        find_script('train.py')


@pytest.mark.parametrize(
    ('text', 'target'),
    [
        ('0.25', {'macs': 0.25}),
        ('params=0.4', {'params': 0.4}),
        ('macs=0.5,params=1', {'macs': 0.5, 'params': 1.0}),
    ],
)
def test_targets_are_read(text, target):
    assert parse_target(text) == target


@pytest.mark.parametrize('text', ['50', '0', 'half', 'macs=', '0.5,2', 'nan'])
def test_a_target_that_is_no_fraction_is_told(text, capsys):
    with pytest.raises(SystemExit) as ended:
        main(['config', 'x.py', '--target', text, '-o', 'y.py'])
    assert ended.value.code == 2
    assert 'is no fraction that is left, in (0, 1]' in capsys.readouterr().err
