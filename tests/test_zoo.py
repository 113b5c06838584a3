"""Released models are what their files say."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmdhp
from mmdhp.models.model_forward import run_model

ZOO = Path(__file__).resolve().parents[1] / 'docs' / 'zoo'
RELEASES = sorted(path.parent for path in ZOO.glob('*/channels.json'))
LIMIT = 4_000_000  # bytes of one file


@pytest.mark.parametrize('folder', RELEASES, ids=lambda path: path.name)
def test_a_release_loads_and_costs_what_it_says(folder):
    summary = json.loads((folder / 'channels.json').read_text())
    config = Config.fromfile(folder / 'pruned_config.py')
    library = config.default_scope
    pytest.importorskip(library)
    init_default_scope(library)
    model = MODELS.build(config.model).eval()
    weights = torch.load(folder / 'pruned.pth', weights_only=True)
    model.load_state_dict(weights['state_dict'])
    channels, height, width = summary['input_shape']
    image = torch.rand(2, channels, height, width)
    graph = mmdhp.trace(model, image)
    assert graph.macs() == summary['macs']['pruned']
    assert graph.params() == summary['params']['pruned']
    ratio = summary['macs']['ratio']
    assert 0 < summary['target']['macs'] - ratio < 0.01
    with torch.no_grad():
        outputs = run_model(model, image)
    leaves = torch.utils._pytree.tree_leaves(outputs)
    assert all(bool(leaf.isfinite().all()) for leaf in leaves)


@pytest.mark.parametrize('folder', RELEASES, ids=lambda path: path.name)
def test_a_release_is_small_and_has_its_curves(folder):
    sizes = {path.name: path.stat().st_size for path in folder.rglob('*')}
    assert max(sizes.values()) < LIMIT
    lines = (folder / 'scalars.json').read_text().splitlines()
    curves = [json.loads(line) for line in lines]
    losses = [entry['loss'] for entry in curves if 'loss' in entry]
    assert len(losses) > 5
    assert losses[-1] < losses[0]


def test_the_table_names_every_release():
    text = (ZOO / 'README.md').read_text()
    assert RELEASES
    for folder in RELEASES:
        assert f'[{folder.name}]({folder.name})' in text
