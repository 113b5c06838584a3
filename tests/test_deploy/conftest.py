"""Pruned folders that the tests of exporting share."""

import pytest
from deploy_toy import CLASSIFIER, RESTORER, prune


@pytest.fixture(scope='session')
def toy(tmp_path_factory):
    """Nothing but MMEngine is needed for it; no preprocessing."""
    folder = tmp_path_factory.mktemp('toy')
    imports = {'imports': ['mmdhp', 'toy']}
    return prune(
        folder, {'type': 'ToyNet'}, 'mmengine', custom_imports=imports
    )


@pytest.fixture(scope='session')
def classifier(tmp_path_factory):
    """An image classifier of MMPretrain."""
    pytest.importorskip('mmpretrain')
    return prune(tmp_path_factory.mktemp('cls'), CLASSIFIER, 'mmpretrain')


@pytest.fixture(scope='session')
def restorer(tmp_path_factory):
    """A super-resolution model of MMagic that pads its inputs."""
    pytest.importorskip('mmagic')
    return prune(tmp_path_factory.mktemp('sr'), RESTORER, 'mmagic')
