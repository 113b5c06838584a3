"""All files and commands of docs/tutorial.md, in order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_docs import blocks

pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'tutorial.md'


def write_images(folder):
    """Bright and dark images, a class each."""
    rng = np.random.default_rng(0)
    for part, count in (('train', 8), ('val', 4)):
        for name, low in (('bright', 128), ('dark', 0)):
            (folder / 'data' / part / name).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(low, low + 128, (64, 64, 3), np.uint8)
                path = folder / 'data' / part / name / f'{i}.png'
                cv2.imwrite(str(path), image)


def run(arguments, folder):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={'PYTHONPATH': f'{ROOT}:.', 'PATH': '', 'HOME': str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_the_tutorial_runs_from_its_first_to_its_last_line(tmp_path):
    write_images(tmp_path)
    *files, last = blocks(PAGE, 'python')
    for code in files:
        name = re.match(r'# (\w+\.py)\n', code).group(1)
        (tmp_path / name).write_text(code)
    lines = '\n'.join(blocks(PAGE, 'bash')).splitlines()
    said = {}
    for program, *arguments in filter(None, map(shlex.split, lines)):
        assert program == 'mmdhp'
        said[arguments[0]] = run(['-m', 'mmdhp', *arguments], tmp_path)
    assert 'backbone.stem.0' in said['inspect']
    assert (tmp_path / 'work_dirs/dhp/report/index.html').exists()
    (tmp_path / 'last.py').write_text(last)
    assert run(['last.py'], tmp_path).strip() == '(1, 2)'
