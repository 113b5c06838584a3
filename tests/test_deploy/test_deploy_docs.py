"""Commands and code of docs/deployment.md run; so does the command line."""

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from toy import config

from mmdhp.cli import export as command
from mmdhp.deploy import FORMATS, ExportOptions
from mmdhp.deploy.formats import AXES

pytest.importorskip('onnxruntime')
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'deployment.md').read_text()


def blocks(language):
    return re.findall(rf'^```{language}\n(.*?)^```', PAGE, re.M | re.S)


def run_command(line):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args(shlex.split(line)[2:]))


@pytest.fixture(scope='module')
def workplace(toy, tmp_path_factory):
    """A folder with what the page talks about."""
    folder = tmp_path_factory.mktemp('page')
    (folder / 'work_dirs').mkdir()
    (folder / 'work_dirs' / 'my_run').symlink_to(toy.work_dir)
    cfg = config(folder, custom_imports={'imports': ['mmdhp', 'toy']})
    cfg.dump(str(folder / 'my_config.py'))
    torch.save(toy.model.state_dict(), folder / 'my_weights.pth')
    return folder


def test_everything_on_the_page_runs(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    lines = [
        line
        for block in blocks('bash')
        for line in block.splitlines()
        if line.startswith('mmdhp export')
    ]
    assert len(lines) == 4
    for line in lines:
        run_command(line)
    printed = capsys.readouterr().out
    rows = re.findall(
        r'^(\S+/model\.\S+) +\S+ MiB +\S+ +(\S+)$', printed, re.M
    )
    assert len({path for path, _ in rows}) == 6
    assert all(float(relative) < 1e-5 for _, relative in rows)
    for name in FORMATS:
        path = Path('deployed') / f'model{FORMATS[name].suffix}'
        assert path.is_file()
        assert Path(f'{path}.json').is_file()
    for code in blocks('python'):
        names = {}
        exec(compile(code, 'deployment.md', 'exec'), names)
        if 'outputs' in names:
            assert names['outputs'].shape == (4, 5)
        if 'same' in names:
            assert torch.allclose(names['same'], names['outputs'])


def test_the_help_needs_no_pytorch():
    code = """
import argparse
import runpy
import sys

sys.modules['torch'] = None
command = runpy.run_path(sys.argv[1])
parser = argparse.ArgumentParser(prog='mmdhp export')
command['add_arguments'](parser)
print(parser.format_help())
"""
    done = subprocess.run(
        [sys.executable, '-c', code, command.__file__],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '--with-preprocess' in done.stdout


def test_the_command_repeats_names_and_defaults_rightly():
    options = {field.name: field.default for field in fields(ExportOptions)}
    assert tuple(FORMATS) == command.FORMATS
    assert ('auto', *AXES) == command.DYNAMIC
    assert options['tolerance'] == command.TOLERANCE
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(['folder', '--shape', '3x224x160'])
    assert args.shape == (3, 224, 160)
    assert args.dynamic == options['dynamic']
    assert args.with_preprocess == options['with_preprocess']


@pytest.mark.parametrize('shape', ['3,224', 'large', '3,4,5,6'])
def test_a_wrong_shape_is_shown(shape, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(['folder', '--shape', shape])
    assert f'{shape!r} is not C,H,W' in capsys.readouterr().err


def test_latencies_of_exported_models(monkeypatch, capsys):
    pytest.importorskip('mmpretrain')
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'analysis_tools')
    tool = importlib.import_module('deploy_latency')
    monkeypatch.setitem(
        tool.CASES,
        'resnet20',
        (*tool.CASES['resnet20'][:3], [(2, 3, 32, 32)]),
    )
    monkeypatch.setattr(
        sys,
        'argv',
        ['deploy_latency.py', 'resnet20', '--rounds', '2', '--threads', '1'],
    )
    tool.main()
    rows = re.findall(
        r'resnet20 +2x3x32x32 +(\S+) +(\S+) +(\S+) +(\S+) +(\S+)',
        capsys.readouterr().out,
    )
    assert [row[0] for row in rows] == ['PyTorch', 'onnx']
    for _, large, small, ratio, macs in rows:
        assert float(ratio) == pytest.approx(
            float(small) / float(large), rel=0.2
        )
        assert 0.4 < float(macs) <= 0.5
