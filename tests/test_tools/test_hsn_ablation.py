"""The ablations of HSN, all variants, on a network of seconds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('matplotlib')

ROOT = Path(__file__).parents[2]
TOOL = str(ROOT / 'tools/analysis_tools/hsn_ablation.py')


def run(*arguments):
    paths = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])
    return subprocess.run(
        [sys.executable, TOOL, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def write(tmp_path):
    toy = pytest.importorskip('toy')

    def write_config(**changes):
        cfg = toy.config(tmp_path / 'runs', **changes)
        cfg.custom_imports = {'imports': ['toy']}
        path = tmp_path / 'ablated.py'
        cfg.dump(str(path))
        return path

    return write_config


def test_it_runs_every_variant_once(tmp_path, write):
    import toy

    path = write(**toy.hsn())
    panels = ['--panels', 'generator']
    arguments = [path, '--work-dir', tmp_path / 'runs', *panels]
    arguments += ['--search', 20, '--fine-tune', 2, '--seeds', 0, 1]
    done = run(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    names = re.findall(r'^(\w\S+) +[\d.e-]+ +[\d.e-]+ ', done.stdout, re.M)
    assert names == [
        'hsn',
        'dense',
        'gates',
        'gates_lr0.05',
    ]
    folders = {path.name for path in (tmp_path / 'runs').glob('*_[01]')}
    assert folders == {f'{n}_{seed}' for n in names for seed in (0, 1)}
    assert (tmp_path / 'runs' / 'ablation.png').stat().st_size > 10_000
    file = tmp_path / 'runs/hsn_0/pruned/channels.json'
    written = file.stat().st_mtime_ns
    again = run(*arguments)
    assert again.stdout.splitlines()[-6:] == done.stdout.splitlines()[-6:]
    assert file.stat().st_mtime_ns == written


def test_another_method_is_refused(tmp_path, write):
    done = run(write(), '--work-dir', tmp_path / 'runs')
    assert done.returncode == 1
    assert "prunes with 'mmdhp.DHP'" in done.stderr
    assert 'Traceback' not in done.stderr
