"""What a wheel holds, and what ``mim`` and MMEngine find in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip('mmengine')

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    'LICENSE',
    'MANIFEST.in',
    'README.md',
    'configs',
    'mmdhp',
    'model-index.yml',
    'pyproject.toml',
    'requirements',
    'setup.py',
    'tools',
)

# Reads configs of the wheel in the two ways that MMEngine has.
READ = """
import mmdhp
from mmengine.config import Config
from mmengine.hub import get_config
from pathlib import Path

Path('mine.py').write_text("_base_ = 'mmdhp::dhp/resnet20_dhp50.py'")
assert Config.fromfile('mine.py').optim_wrapper.pruner.type == 'mmdhp.DHP'
assert get_config('mmdhp::dhp/resnet20_dhp50.py').model
print(mmdhp.__file__)
"""


def listed(path):
    """Metafiles that an index imports."""
    return sorted(yaml.safe_load(path.read_text())['Import'])


def test_the_index_lists_every_metafile():
    found = (ROOT / 'configs').glob('*/metafile.yml')
    names = sorted(path.relative_to(ROOT).as_posix() for path in found)
    assert listed(ROOT / 'model-index.yml') == names


def test_every_config_of_the_index_exists_once():
    configs = [
        entry['Config']
        for name in listed(ROOT / 'model-index.yml')
        for entry in yaml.safe_load((ROOT / name).read_text())['Models']
    ]
    assert len(configs) == len(set(configs))
    assert [name for name in configs if not (ROOT / name).is_file()] == []
    folders = {path.parent for path in (ROOT / 'configs').rglob('*.py')}
    whole = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in folder.glob('*.py')
        if '_base_' not in path.parts
    }
    assert set(configs) == whole


def test_the_index_is_a_model_index():
    model_index = pytest.importorskip('modelindex.load_model_index')
    index = model_index.load(str(ROOT / 'model-index.yml'))
    assert len(index.models) >= 100
    assert {c.name for c in index.collections} >= {'DHP', 'HSN', 'LW-DNA'}


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A folder with mmdhp, built and installed as pip does."""
    folder = tmp_path_factory.mktemp('wheel')
    source, site = folder / 'source', folder / 'site'
    source.mkdir()
    ignored = shutil.ignore_patterns('__pycache__')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, source / name)
    before = tree(source)
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps']
    command += ['--no-index', '--no-build-isolation', '--no-compile']
    command += ['--disable-pip-version-check', '--target', str(site)]
    done = subprocess.run(
        [*command, str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    built = {name for name in tree(source) - before}
    assert {n.split('/')[0] for n in built} <= {'build', 'mmdhp.egg-info'}
    return site


def tree(folder):
    """Files below a folder; no links."""
    assert not [path for path in folder.rglob('*') if path.is_symlink()]
    files = (path for path in folder.rglob('*') if path.is_file())
    return {path.relative_to(folder).as_posix() for path in files}


def run(site, *arguments, cwd):
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ('PYTHONPATH', 'PYTHONHOME')
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**environment, 'PYTHONPATH': str(site), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_package_configs_and_tools(installed):
    found = tree(installed / 'mmdhp')
    for folder in ('configs', 'tools'):
        wanted = {f'{folder}/{name}' for name in tree(ROOT / folder)}
        wanted = {name for name in wanted if '__pycache__' not in name}
        assert {f'.mim/{name}' for name in wanted} <= found
    assert '.mim/model-index.yml' in found
    package = {n for n in tree(ROOT / 'mmdhp') if '__pycache__' not in n}
    assert package <= found
    assert not any('tests' in name.split('/') for name in found)


def test_mmengine_finds_the_configs_of_the_wheel(installed, tmp_path):
    done = run(installed, '-c', READ, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(installed / 'mmdhp' / '__init__.py')


def test_the_command_works_away_from_the_repository(installed, tmp_path):
    (program,) = (installed / 'bin').iterdir()
    assert program.name == 'mmdhp'
    done = run(installed, str(program), '--version', cwd=tmp_path)
    assert done.stdout.startswith('mmdhp ')
    done = run(
        *(installed, str(program), 'inspect', 'mmdhp::dhp/resnet20_dhp50.py'),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert 'Reachable targets: macs 0.' in done.stdout
    done = run(installed, str(program), 'train', '--help', cwd=tmp_path)
    assert done.stdout.startswith('usage: mmdhp train ')
