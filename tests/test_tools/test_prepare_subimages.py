"""Sub-images: complete, aligned, resumable, as files and as a database."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdhp.datasets import imresize

TOOLS = Path(__file__).parents[2] / 'tools' / 'dataset_converters'


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(TOOLS))
    import prepare_subimages

    yield prepare_subimages
    sys.path.remove(str(TOOLS))


@pytest.fixture
def photos(tmp_path):
    """A colour and a gray image, and one that is too small."""
    draw = np.random.default_rng(0)
    (tmp_path / 'photos').mkdir()
    for name, shape in {
        'a': (50, 73, 3),
        'b': (64, 48),
        'tiny': (20, 90, 3),
    }.items():
        pixels = draw.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'photos/{name}.png')
    return tmp_path / 'photos'


def run(tool, monkeypatch, *arguments):
    options = ('--size', 32, '--step', 16, '--threshold', 4, '--workers', 0)
    argv = ['prepare_subimages.py', *arguments, *options]
    monkeypatch.setattr(sys, 'argv', [*map(str, argv)])
    tool.main()


def read(path):
    return np.asarray(Image.open(path))


def test_pairs_are_cut_from_whole_images(
    tool, photos, tmp_path, monkeypatch, capsys
):
    out = tmp_path / 'out'
    run(tool, monkeypatch, photos, out)

    # a: 48x72 -> rows 0, 16; columns 0, 16, 32, 40. b: rows 0, 16, 32.
    assert '14 sub-images' in capsys.readouterr().out
    lines = (out / 'meta_info.txt').read_text().splitlines()
    assert lines[:2] == ['a_s001.png (32,32,3)', 'a_s002.png (32,32,3)']
    assert lines[-1] == 'b_s006.png (32,32,1)'
    names = {line.split()[0] for line in lines}
    for folder in ('HR', 'LR_bicubic_X4'):
        assert {path.name for path in (out / folder).iterdir()} == names
    image = read(photos / 'a.png')[:48, :72]
    np.testing.assert_array_equal(
        read(out / 'HR/a_s008.png'), image[16:48, 40:72]
    )
    np.testing.assert_array_equal(
        read(out / 'LR_bicubic_X4/a_s008.png'),
        imresize(image, 1 / 4)[4:12, 10:18],
    )
    assert read(out / 'HR/b_s001.png').shape == (32, 32)


def test_an_interrupted_run_goes_on(
    tool, photos, tmp_path, monkeypatch, capsys
):
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    run(tool, monkeypatch, photos, whole)
    cut, seen = tool.cut, []

    def fail_at_b(path, settings):
        seen.append(path.name)
        if path.name == 'b.png' and 'again' not in seen:
            raise KeyboardInterrupt
        return cut(path, settings)

    monkeypatch.setattr(tool, 'cut', fail_at_b)
    with pytest.raises(KeyboardInterrupt):
        run(tool, monkeypatch, photos, out)
    assert not (out / 'meta_info.txt').exists()
    with (out / '.meta_info.txt.journal').open('a') as journal:
        journal.write('\n{"image": "b.pn')  # killed while it wrote
    seen.append('again')
    capsys.readouterr()
    run(tool, monkeypatch, photos, out)

    assert (
        '(1 of them done before; 1 are too small)' in capsys.readouterr().out
    )
    assert seen == ['a.png', 'b.png', 'again', 'b.png', 'tiny.png']
    files = sorted(p.relative_to(whole) for p in whole.rglob('*.*'))
    assert files == sorted(p.relative_to(out) for p in out.rglob('*.*'))
    for file in files:
        if file.suffix in ('.png', '.txt'):
            assert (out / file).read_bytes() == (whole / file).read_bytes()
    run(tool, monkeypatch, photos, out)
    assert '3 of them done before' in capsys.readouterr().out
    assert len(seen) == 5


def test_workers_make_the_same(tool, photos, tmp_path, monkeypatch):
    run(tool, monkeypatch, photos, tmp_path / 'one')
    options = ['--size', '32', '--step', '16', '--threshold', '4']
    args = tool.parse_args([str(photos), str(tmp_path / 'two'), *options])
    tool.prepare(*tool.settings_of(args), workers=2)
    for path in (tmp_path / 'one').rglob('*.png'):
        other = tmp_path / 'two' / path.relative_to(tmp_path / 'one')
        assert other.read_bytes() == path.read_bytes()


def test_databases_hold_the_same_files(tool, photos, tmp_path, monkeypatch):
    lmdb = pytest.importorskip('lmdb')
    run(tool, monkeypatch, photos, tmp_path / 'files')
    store = sys.modules[tool.LmdbWriter.__module__]
    monkeypatch.setattr(store, 'MAP_SIZE', 2**14)  # grows on the way
    run(tool, monkeypatch, photos, tmp_path / 'base', '--lmdb')

    for folder in ('HR', 'LR_bicubic_X4'):
        files = sorted((tmp_path / 'files' / folder).iterdir())
        path = str(tmp_path / f'base/{folder}.lmdb')
        with lmdb.open(path, readonly=True) as base, base.begin() as reader:
            assert reader.stat()['entries'] == len(files)
            for file in files:
                assert reader.get(file.stem.encode()) == file.read_bytes()
    assert (tmp_path / 'base/meta_info.txt').read_bytes() == (
        tmp_path / 'files/meta_info.txt'
    ).read_bytes()


def test_div2k_with_its_own_low_resolution(tool, tmp_path, monkeypatch):
    root = tmp_path / 'DIV2K'
    high = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    low = np.full((16, 16, 3), 7, np.uint8)
    for folder, name, image in (
        ('DIV2K_train_HR', '0001', high),
        ('DIV2K_train_LR_bicubic/X4', '0001x4', low),
    ):
        (root / folder).mkdir(parents=True)
        Image.fromarray(image).save(root / folder / f'{name}.png')

    run(tool, monkeypatch, '--div2k', root)

    assert (root / 'meta_info_DIV2K800sub_GT.txt').exists()
    assert (root / 'DIV2K_train_HR_sub/0001_s009.png').exists()
    part = read(root / 'DIV2K_train_LR_bicubic/X4_sub/0001_s009.png')
    assert part.shape == (8, 8, 3)
    assert (part == 7).all()


def test_div2k_gives_the_published_number_of_sub_images(tool):
    # Of 2040 pixels 120 are left behind the last whole step, of 1404 204;
    # of 1224 only 24.
    counts = [
        len(tool.positions(length, 480, 240, 48))
        for length in (2040, 1404, 1224, 480, 479)
    ]
    assert counts == [8, 5, 4, 1, 0]


def test_mistakes(tool, photos, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match='no folder .*nowhere'):
        run(tool, monkeypatch, tmp_path / 'nowhere', tmp_path / 'out')
    with pytest.raises(SystemExit, match='no low resolution'):
        run(tool, monkeypatch, photos, tmp_path / 'x', '--low', tmp_path)
    with pytest.raises(SystemExit, match=r'73x50 pixels, expected 18x12'):
        run(tool, monkeypatch, photos, tmp_path / 'y', '--low', photos)
    run(tool, monkeypatch, photos, tmp_path / 'out')
    with pytest.raises(SystemExit, match='scale was 4, is 2'):
        run(tool, monkeypatch, photos, tmp_path / 'out', '--scale', 2)
    Image.new('L', (9, 9)).save(photos / 'a.bmp')
    with pytest.raises(SystemExit, match='two images named a'):
        run(tool, monkeypatch, photos, tmp_path / 'z')
    with pytest.raises(SystemExit):
        tool.parse_args(['a', 'b', '--size', '30'])
    assert 'must be multiples of' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool.parse_args(['a'])
    assert 'SOURCE and OUT, or --div2k' in capsys.readouterr().err
