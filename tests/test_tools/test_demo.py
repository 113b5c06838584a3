"""The demo, run as a user runs it, but short."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmdhp  # noqa: F401, lets MMagic import

ROOT = Path(__file__).parents[2]

pytest.importorskip('mmagic')
pytest.importorskip('skimage')


def run(*arguments):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_demo_compares_three_methods_and_exports(tmp_path):
    out = run('tools/demo.py', '--work-dir', tmp_path, '--iters', 5)
    rows = re.findall(
        r'^(bicubic|SRResNet).* +(\d+\.\d\d) +0\.\d{4}', out, re.M
    )
    assert [name for name, _ in rows] == ['bicubic', 'SRResNet', 'SRResNet']
    assert 28.2 < float(rows[0][1]) < 28.4  # of bicubic, known
    summary = tmp_path / 'pruned' / 'pruned' / 'channels.json'
    macs = json.loads(summary.read_text())['macs']
    assert f'MACs {macs["ratio"]:.3f}' in out
    assert 0.3 < macs['ratio'] <= 0.4
