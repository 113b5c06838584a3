"""CIFAR of MMPretrain, with helpful errors."""

import hashlib
import pickle

import numpy as np
import pytest
from mmengine.registry import DATASETS

datasets = pytest.importorskip('mmpretrain.datasets')

KINDS = ['CIFAR10', 'CIFAR100']
FOLDERS = {'CIFAR10': 'cifar-10-batches-py', 'CIFAR100': 'cifar-100-python'}
LABELS = {'CIFAR10': 'labels', 'CIFAR100': 'fine_labels'}


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    """A kind of data set that downloads nothing."""
    monkeypatch.setattr(
        'mmpretrain.datasets.cifar.download_and_extract_archive',
        lambda *args, **kwargs: pytest.fail('downloads'),
    )
    return request.param


def build(kind, root, split='train', **options):
    cfg = dict(type=f'mmdhp.{kind}', data_root=str(root), split=split)
    return DATASETS.build(dict(cfg, **options))


def write(kind, root, monkeypatch):
    """Write two images a file, and make them the published ones."""
    upstream = getattr(datasets, kind)
    folder = root / FOLDERS[kind]
    folder.mkdir(parents=True)
    for key in ('train_list', 'test_list'):
        listed = []
        for i, (name, _) in enumerate(getattr(upstream, key)):
            data = np.full((2, 3072), i, dtype=np.uint8)
            content = pickle.dumps({'data': data, LABELS[kind]: [i, 7]})
            (folder / name).write_bytes(content)
            listed.append([name, hashlib.md5(content).hexdigest()])
        monkeypatch.setattr(upstream, key, listed)


def test_it_is_upstreams(kind, tmp_path, monkeypatch):
    write(kind, tmp_path, monkeypatch)
    upstream = getattr(datasets, kind)
    train = build(kind, tmp_path)
    test = build(kind, tmp_path, 'test', test_mode=True)

    assert type(train) is upstream
    assert len(train) == 2 * len(upstream.train_list)
    assert [test.get_data_info(i)['gt_label'] for i in range(2)] == [0, 7]
    assert len(build(kind, tmp_path, indices=1)) == 1


def test_missing_files(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match='not found in') as error:
        build(kind, tmp_path / 'none')

    message = str(error.value)
    assert f'{tmp_path}/none/{FOLDERS[kind]}' in message
    assert 'https://www.cs.toronto.edu/~kriz/cifar-10' in message
    assert 'download=True' in message


def test_one_missing_file_is_named(kind, tmp_path, monkeypatch):
    write(kind, tmp_path, monkeypatch)
    name = getattr(datasets, kind).test_list[0][0]
    (tmp_path / FOLDERS[kind] / name).unlink()

    with pytest.raises(FileNotFoundError, match=f'{kind}: {name} not found'):
        build(kind, tmp_path)


def test_damaged_file_is_named(kind, tmp_path, monkeypatch):
    write(kind, tmp_path, monkeypatch)
    name = getattr(datasets, kind).test_list[0][0]
    (tmp_path / FOLDERS[kind] / name).write_bytes(b'broken')

    with pytest.raises(ValueError, match=f'{kind}: {name} in .* damaged'):
        build(kind, tmp_path)


def test_download_is_upstreams(kind, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        'mmpretrain.datasets.cifar.download_and_extract_archive',
        lambda url, *args, **kwargs: asked.append(url),
    )
    with pytest.raises(AssertionError, match='Download failed'):
        build(kind, tmp_path, download=True)

    assert asked == [getattr(datasets, kind).url]
