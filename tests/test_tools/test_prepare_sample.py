import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('skimage')

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def tool():
    path = ROOT / 'tools/dataset_converters/prepare_sample.py'
    spec = importlib.util.spec_from_file_location('prepare_sample', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def sample(tool, tmp_path_factory):
    return tool.prepare(tmp_path_factory.mktemp('data') / 'sample_sr')


def read(path):
    return np.asarray(Image.open(path))


def keys(distance):
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return near * (distance <= 1) + far * ((1 < distance) & (distance <= 2))


def imresize_matrix(size):
    """MATLAB's antialiased x1/4 row operator, shape ``(size // 4, size)``."""
    matrix = np.zeros((size // 4, size))
    for row in range(size // 4):
        centre = 4 * row + 1.5
        for column in range(-size, 2 * size):
            mirrored = column
            if column < 0:
                mirrored = -1 - column
            elif column >= size:
                mirrored = 2 * size - 1 - column
            matrix[row, mirrored] += keys(abs(column - centre) / 4) / 4
    return matrix / matrix.sum(axis=1, keepdims=True)


def test_downscale_is_matlabs_imresize(tool):
    image = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)

    expected = np.einsum(
        'ih,hwc,jw->ijc',
        imresize_matrix(24),
        image,
        imresize_matrix(36),
    ).clip(0, 255)

    assert abs(tool.downscale(image) - expected).max() <= 0.5 + 1e-4


@pytest.mark.parametrize('split', ['train', 'val'])
def test_pairs_are_complete_and_aligned(tool, sample, split):
    folder = sample.out_dir / split
    names = sorted(path.name for path in (folder / 'HR').iterdir())

    assert names == sorted(
        path.name for path in (folder / 'LR_bicubic_X4').iterdir()
    )
    assert len(names) == getattr(sample, f'num_{split}') > 0
    for name in names:
        high = read(folder / 'HR' / name)
        low = read(folder / 'LR_bicubic_X4' / name)
        assert high.shape == (4 * low.shape[0], 4 * low.shape[1], 3)
        # Away from the border a cut-out does not know its surroundings.
        inner = (slice(2, -2), slice(2, -2))
        np.testing.assert_array_equal(tool.downscale(high)[inner], low[inner])


def test_training_images_are_many_and_of_one_size(tool, sample):
    shapes = {
        Image.open(path).size
        for path in (sample.out_dir / 'train/HR').iterdir()
    }

    assert 100 <= sample.num_train <= 300
    assert shapes == {(tool.SUB_SIZE, tool.SUB_SIZE)}


def test_splits_share_no_pixel(tool):
    for held_out in tool.PHOTOS['val']:
        for photo in tool.PHOTOS['train']:
            if photo.file == held_out.file:
                assert photo.right is not None
                assert photo.right <= held_out.left


def test_second_call_changes_nothing(tool, sample):
    before = {
        path: path.stat().st_mtime_ns for path in sample.out_dir.rglob('*')
    }

    again = tool.prepare(sample.out_dir)

    assert sample.created
    assert again == sample._replace(created=False)
    assert before == {
        path: path.stat().st_mtime_ns for path in sample.out_dir.rglob('*')
    }


def test_incomplete_folder_is_refused(tool, tmp_path):
    with pytest.raises(FileExistsError, match='lacks 344 of 344'):
        tool.prepare(tmp_path)


def test_interrupted_run_leaves_nothing(tool, tmp_path, monkeypatch):
    def interrupt(folder, samples):
        folder.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(tool, '_write', interrupt)

    with pytest.raises(KeyboardInterrupt):
        tool.prepare(tmp_path / 'sample_sr')
    assert not list(tmp_path.iterdir())


def test_missing_photo(tool):
    with pytest.raises(FileNotFoundError, match='nowhere.png is missing'):
        tool.load(tool.Photo('nowhere.png'))


def test_missing_scikit_image(tool, monkeypatch):
    monkeypatch.setattr(tool, 'find_spec', lambda name: None)

    with pytest.raises(FileNotFoundError, match='is not installed'):
        tool.load(tool.Photo('coffee.png'))


def test_command_line(tool, sample, monkeypatch, capsys):
    monkeypatch.setattr(
        'sys.argv', ['prepare_sample.py', '--out', str(sample.out_dir)]
    )

    tool.main()

    assert '170 training pairs' in capsys.readouterr().out
