"""Images before and after, of a run that restores some."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

import mmdhp  # noqa: F401, lets MMagic import
from mmdhp.datasets import imresize
from mmdhp.report import Options, write_report

pytest.importorskip('mmagic')

CONFIGS = Path(__file__).parents[2] / 'configs'
HEIGHT, WIDTH = 72, 88


@pytest.fixture(autouse=True)
def _plain_configs(monkeypatch):
    """Dump configs as they are: to format them takes most of the time."""
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )


def network(width, data, config, weights):
    """Write the config and the weights of a small network."""
    cfg = Config.fromfile(str(CONFIGS / 'srresnet/srresnet_x4_sample.py'))
    cfg.model.generator.update(mid_channels=width, num_blocks=1)
    for loader in cfg.test_dataloader:
        loader['dataset'].update(data_root=str(data))
    init_default_scope('mmagic')
    torch.manual_seed(width)
    model = MODELS.build(cfg.model)
    cfg.dump(str(config))
    torch.save(model.state_dict(), weights)
    return sum(p.numel() for p in model.parameters())


@pytest.fixture
def run(tmp_path):
    """The folder of a run as it ends."""
    data, folder = tmp_path / 'data', tmp_path / 'run'
    draw = np.random.default_rng(0)
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[:36, -36:] = draw.integers(0, 256, (36, 36, 3))
    for name, pixels in (
        ('HR', image),
        ('LR_bicubic_X4', imresize(image, 1 / 4)),
    ):
        (data / name).mkdir(parents=True)
        Image.fromarray(pixels).save(data / name / 'bird.png')
    (folder / 'pruned').mkdir(parents=True)
    (folder / '20260101_000000/vis_data').mkdir(parents=True)
    was = network(12, data, folder / 'srresnet.py', tmp_path / 'original.pth')
    exported = folder / 'pruned'
    now = network(
        6, data, exported / 'pruned_config.py', exported / 'pruned.pth'
    )
    content = {
        'method': 'DHP',
        'target': {'macs': 0.4},
        'params': {'original': was, 'pruned': now},
        'macs': {'original': 4 * was, 'pruned': 4 * now},
        'input_shape': [3, 10, 12],
        'metrics': {'PSNR': 21.5},
        'groups': [{'name': 'generator.head.0', 'kept': 6, 'total': 12}],
    }
    (exported / 'channels.json').write_text(json.dumps(content))
    return folder


def shown(page):
    """Section of the images, and their pixels."""
    with open(page, encoding='utf-8') as file:
        text = file.read()
    section = re.search('<h2>Before and after.*?</section>', text, re.S)[0]
    data = re.findall('<img src="data:image/png;base64,([^"]+)"', section)
    images = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(part))))
        for part in data
    ]
    return section, images


def test_before_and_after(run, tmp_path):
    options = Options(rounds=1, original=str(tmp_path / 'original.pth'))
    page = write_report(str(run), options=options)
    section, images = shown(page)
    titles = re.findall('alt="Detail of the ([^"]+)"', section)
    assert titles == ['bicubic x4', 'original', 'pruned', 'ground truth']
    truth = np.asarray(Image.open(tmp_path / 'data/HR/bird.png'))
    assert images[3].shape == (32, 32, 3)
    corner = truth[:40, -40:]
    assert any(  # the detail lies where the noise is
        (corner[i : i + 32, j : j + 32] == images[3]).all()
        for i in range(9)
        for j in range(9)
    )
    assert not (images[1] == images[2]).all()
    assert len(re.findall(r'MACs, [\d.]+ ms', section)) == 2
    picture = np.asarray(Image.open(run / 'report/images.png'))
    assert picture.shape[1] > 1500


def test_without_the_original(run):
    section, images = shown(write_report(str(run), options=Options(1)))
    assert len(images) == 3
    assert 'Give the checkpoint of the original network' in section


def test_without_the_data(run, tmp_path):
    (tmp_path / 'data/HR/bird.png').unlink()
    (tmp_path / 'data/LR_bicubic_X4/bird.png').unlink()
    page = write_report(str(run), options=Options(0))
    with open(page, encoding='utf-8') as file:
        text = file.read()
    assert 'Before and after' not in text
    assert 'They need the test data of the config' in text
