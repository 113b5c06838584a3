"""What all tests share."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # `import zoo` from any folder


def pytest_configure(config):
    """Let YAPF write its cache before processes that share it start."""
    if not hasattr(config, 'workerinput'):
        importlib.import_module('yapf.yapflib.yapf_api')


@pytest.fixture(autouse=True, scope='module')
def _fresh():
    """What files share, and do not leave behind for the next one.

    Fixtures of a file come before those of its tests: they, too, get the
    same numbers in any order. A run leaves its default scope.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)  # sums depend on it
    yield
    scopes = sys.modules.get('mmengine.registry')
    if scopes is not None:
        scopes.DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def _reproducible():
    """Same numbers in any order of tests, without stealing cores."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def cpu_amp(monkeypatch):
    """Let MMEngine build its AmpOptimWrapper where there is no GPU."""
    monkeypatch.setattr(
        'mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available',
        lambda: True,
    )


@pytest.fixture(scope='session')
def toy(tmp_path_factory):
    """A pruned folder that needs nothing but MMEngine; no preprocessing."""
    from deploy_toy import prune

    folder = tmp_path_factory.mktemp('toy')
    imports = {'imports': ['mmdhp', 'toy']}
    return prune(
        folder, {'type': 'ToyNet'}, 'mmengine', custom_imports=imports
    )


@pytest.fixture(scope='session')
def classifier(tmp_path_factory):
    """A pruned folder of an image classifier of MMPretrain."""
    pytest.importorskip('mmpretrain')
    from deploy_toy import CLASSIFIER, prune

    return prune(tmp_path_factory.mktemp('cls'), CLASSIFIER, 'mmpretrain')


@pytest.fixture(scope='session')
def restorer(tmp_path_factory):
    """A pruned folder of MMagic's super-resolution, which pads its inputs."""
    pytest.importorskip('mmagic')
    from deploy_toy import RESTORER, prune

    return prune(tmp_path_factory.mktemp('sr'), RESTORER, 'mmagic')
