"""Mosaics of Tiny-ImageNet: boxes lie on their objects."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdhp.datasets.tracking import SOTCocoDataset

TOOLS = Path(__file__).parents[2] / 'tools' / 'dataset_converters'


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(TOOLS))
    import tiny_imagenet_boxes

    yield tiny_imagenet_boxes
    sys.path.remove(str(TOOLS))


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """Dark images with one bright object, in the published layout.

    Two of the nine are not usable: one object touches two borders, one is
    tiny.
    """
    root = tmp_path_factory.mktemp('data') / 'tiny-imagenet-200'
    draw = np.random.default_rng(0)
    lines = {'val': [], 'train': []}
    for number in range(9):
        split = 'train' if number < 4 else 'val'
        folder = root / ('val' if split == 'val' else 'train/n01')
        (folder / 'images').mkdir(parents=True, exist_ok=True)
        left, top = draw.integers(3, 20, 2)
        right, bottom = left + draw.integers(18, 40), top + 25
        if number == 0:
            left = top = 0
        if number == 8:
            right, bottom = left + 4, top + 5
        image = np.full((64, 64, 3), 20, np.uint8)
        image[top : bottom + 1, left : right + 1] = 220
        name = f'{split}_{number}.JPEG'
        cv2.imwrite(str(folder / 'images' / name), image)
        label = [] if split == 'train' else ['n01']
        fields = [name, *label, left, top, right, bottom]
        lines[split].append('\t'.join(map(str, fields)))
    (root / 'train/n01/n01_boxes.txt').write_text('\n'.join(lines['train']))
    (root / 'val/val_annotations.txt').write_text('\n'.join(lines['val']))
    return root


def run(tool, monkeypatch, *arguments):
    argv = ['tiny_imagenet_boxes.py', *map(str, arguments)]
    monkeypatch.setattr(sys, 'argv', argv)
    tool.main()


def test_boxes_lie_on_their_objects(
    tool, published, tmp_path, monkeypatch, capsys
):
    run(tool, monkeypatch, published, tmp_path, '--tiles', 4, '--rounds', 2)
    assert '8 objects' in capsys.readouterr().out  # 2 rounds, 4 of 7 each
    content = json.loads((tmp_path / 'annotations.json').read_text())
    images = {i['id']: i['file_name'] for i in content['images']}
    assert len(images) == 2
    for annotation in content['annotations']:
        name = images[annotation['image_id']]
        gray = cv2.imread(str(tmp_path / 'images' / name), 0)
        assert gray.shape == (256, 256)
        x, y, width, height = annotation['bbox']
        assert gray[y : y + height, x : x + width].min() > 150
        outside = np.ones_like(gray, dtype=bool)
        outside[y : y + height, x : x + width] = False
        rim = np.s_[y - 2 : y + height + 2, x - 2 : x + width + 2]
        assert gray[rim][outside[rim]].max() < 90
        assert annotation['area'] == width * height


def test_a_tracker_can_be_trained_on_them(
    tool, published, tmp_path, monkeypatch
):
    run(tool, monkeypatch, published, tmp_path, '--tiles', 3, '--rounds', 1)
    dataset = SOTCocoDataset(
        data_root=str(tmp_path),
        ann_file='annotations.json',
        data_prefix=dict(img_path='images'),
    )
    assert dataset.num_videos == 7
    sample = dataset[0]
    assert cv2.imread(sample['frame_path'](0)).shape == (192, 192, 3)
    x, y = sample['bboxes'][0, :2]
    assert min(x, y) >= 64  # in the middle tile


def test_other_folders_are_refused(tool, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match='0 usable objects, but a mosaic'):
        run(tool, monkeypatch, tmp_path, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_options(tool, published, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(tool, monkeypatch, published, tmp_path, '--tiles', 2)
    assert '--tiles has to be at least 3' in capsys.readouterr().err
