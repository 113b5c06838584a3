"""Weights of other packages: names change, values do not."""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

timm = pytest.importorskip('timm')
pytest.importorskip('mmpretrain')

TOOLS = Path(__file__).parents[2] / 'tools' / 'model_converters'


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(TOOLS))
    import efficientnet_lite_to_timm

    yield efficientnet_lite_to_timm
    sys.path.remove(str(TOOLS))


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """The network, and its weights under other names."""
    model = timm.create_model('tf_efficientnet_lite0').eval()
    path = tmp_path_factory.mktemp('weights') / 'package' / 'lite0.pth'
    path.parent.mkdir()
    (path.parent / '__init__.py').touch()
    state = {
        f'_{number}.{key.rpartition(".")[2]}': value
        for number, (key, value) in enumerate(model.state_dict().items())
    }
    torch.save(state, path)
    return model, path


def run(tool, monkeypatch, *arguments):
    argv = ['efficientnet_lite_to_timm.py', *map(str, arguments)]
    monkeypatch.setattr(sys, 'argv', argv)
    tool.main()


def test_the_backbone_computes_the_networks_features(
    tool, source, tmp_path, monkeypatch
):
    model, path = source
    monkeypatch.syspath_prepend(path.parent.parent)
    run(tool, monkeypatch, 'package', tmp_path / 'made' / 'lite0.pth')

    cfg = dict(
        type='mmpretrain.TIMMBackbone',
        model_name='tf_efficientnet_lite0',
        features_only=True,
        feature_cls='getter',
        out_indices=(2, 3),
    )
    backbone = MODELS.build(cfg)
    backbone.eval()  # returns nothing
    content = torch.load(tmp_path / 'made' / 'lite0.pth', weights_only=True)
    backbone.load_state_dict(content['state_dict'])  # all, and no others
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = backbone(image)
        expected = model.forward_intermediates(
            image, indices=(2, 3), intermediates_only=True
        )
    assert [x.shape[1:] for x in found] == [(40, 8, 8), (112, 4, 4)]
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs)


def test_another_network_is_refused(tool, source, tmp_path, monkeypatch):
    options = '--model', 'tf_efficientnet_lite1'
    with pytest.raises(SystemExit, match='of another network: 296 tensors'):
        run(tool, monkeypatch, source[1], tmp_path / 'out.pth', *options)
    assert not (tmp_path / 'out.pth').exists()


def test_other_shapes_are_refused(tool):
    ours = {'a.weight': torch.zeros(3), 'b.weight': torch.zeros(4)}
    theirs = {'c.weight': torch.zeros(3), 'd.weight': torch.zeros(5)}
    with pytest.raises(SystemExit, match=r'number 1 is weight \(4,\)'):
        tool.rename(ours, theirs)


def test_a_missing_source_is_told(tool, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="'nothing' is neither a file"):
        run(tool, monkeypatch, 'nothing', tmp_path / 'out.pth')
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'weightless').mkdir()
    (tmp_path / 'weightless' / '__init__.py').touch()
    with pytest.raises(SystemExit, match=r'has 0 files \*\.pth'):
        run(tool, monkeypatch, 'weightless', tmp_path / 'out.pth')
