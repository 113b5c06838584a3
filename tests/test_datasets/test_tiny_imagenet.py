"""Tiny-ImageNet as published, in miniature."""

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

pytest.importorskip('mmpretrain')

WNIDS = ['n03', 'n01', 'n02']  # the published list is not sorted
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]


def save(path, gray=False):
    shape = (7, 5) if gray else (7, 5, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    Image.fromarray(pixels).save(path, 'JPEG')


@pytest.fixture
def root(tmp_path):
    """Two training images per class, the second one gray."""
    folder = tmp_path / 'tiny'
    for wnid in WNIDS:
        for i in range(2):
            images = folder / 'train' / wnid / 'images'
            save(images / f'{wnid}_{i}.JPEG', gray=i == 1)
    rows = []
    for i, wnid in enumerate(['n02', 'n03']):
        save(folder / 'val' / 'images' / f'val_{i}.JPEG')
        rows.append(f'val_{i}.JPEG\t{wnid}\t0\t1\t4\t5\n')
    (folder / 'val' / 'val_annotations.txt').write_text(''.join(rows))
    (folder / 'wnids.txt').write_text('\n'.join(WNIDS) + '\n')
    words = 'n00\tthing\nn01\ttench, Tinca tinca\nn03\tcar\n'
    (folder / 'words.txt').write_text(words)
    return folder


def build(root, split='train', **options):
    cfg = dict(type='mmdhp.TinyImageNet', data_root=str(root), split=split)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(dict(cfg, **options))


def test_training_images_have_labels_by_sorted_id(root):
    dataset = build(root)

    assert [
        (sample['img_path'].split('/')[-1], sample['gt_label'])
        for sample in map(dataset.get_data_info, range(len(dataset)))
    ] == [
        ('n01_0.JPEG', 0),
        ('n01_1.JPEG', 0),
        ('n02_0.JPEG', 1),
        ('n02_1.JPEG', 1),
        ('n03_0.JPEG', 2),
        ('n03_1.JPEG', 2),
    ]


def test_validation_labels_come_from_the_annotations(root):
    dataset = build(root, 'val')

    samples = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [sample['gt_label'] for sample in samples] == [1, 2]
    assert samples[1]['img_path'] == str(root / 'val/images/val_1.JPEG')


def test_gray_images_have_three_channels(root):
    dataset = build(root, pipeline=PIPELINE)

    assert [tuple(dataset[i]['inputs'].shape) for i in (0, 1)] == [
        (3, 7, 5),
        (3, 7, 5),
    ]
    assert int(dataset[3]['data_samples'].gt_label) == 1


def test_classes_have_names(root):
    assert build(root).metainfo['classes'] == ['tench', 'n02', 'car']
    (root / 'words.txt').unlink()
    assert build(root).metainfo['classes'] == ['n01', 'n02', 'n03']


def test_a_subset(root):
    assert len(build(root, indices=4)) == 4


def test_config_reads_it(root):
    base = 'configs/_base_/datasets/tiny_imagenet_bs64.py'
    config = Config.fromfile(base)
    for name, length in (('train', 6), ('val', 2), ('test', 2)):
        cfg = config[f'{name}_dataloader'].dataset
        dataset = build(root, cfg.split, pipeline=cfg.pipeline)
        assert len(dataset) == length
        assert dataset[0]['inputs'].shape == (3, 7, 5)


def test_unknown_split(root):
    with pytest.raises(ValueError, match="split is 'test'"):
        build(root, 'test')


def test_missing_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match='no wnids.txt in') as error:
        build(tmp_path / 'none')

    assert 'tiny-imagenet-200.zip' in str(error.value)
    assert str(tmp_path / 'none') in str(error.value)


def test_missing_class_folder(root):
    for path in (root / 'train/n02/images').iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 3 .*train/n02/images'):
        build(root)


def test_missing_annotations(root):
    (root / 'val/val_annotations.txt').unlink()
    with pytest.raises(FileNotFoundError, match='no val/val_annotations.txt'):
        build(root, 'val')


def test_moved_validation_images(root):
    (root / 'val/images').rename(root / 'val/n02')
    with pytest.raises(FileNotFoundError, match='no folder val/images'):
        build(root, 'val')


def test_annotations_of_other_classes(root):
    (root / 'val/val_annotations.txt').write_text('val_0.JPEG\tn09\t0\n')
    with pytest.raises(ValueError, match=r"names \['n09'\]"):
        build(root, 'val')
