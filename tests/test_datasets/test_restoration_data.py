"""Folders of images, noise and low resolution, as pipelines use them."""

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import DATASETS
from PIL import Image

from mmdhp.datasets import AddGaussianNoise, BicubicDownscale, imresize


def write(path, shape=(6, 9, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    Image.fromarray(pixels).save(path)


def build(**cfg):
    return DATASETS.build(dict(type='mmdhp.ImageFolder', **cfg))


def step(**cfg):
    (built,) = Compose([dict(type='mmdhp.AddGaussianNoise', **cfg)]).transforms
    return built


def clean(name='a.png', value=128, shape=(70, 90, 1)):
    return {'gt': np.full(shape, value, np.uint8), 'gt_path': f'x/{name}'}


def test_folder_of_any_images_in_the_order_of_names(tmp_path):
    for name in ('b.PNG', 'deep/er/c.webp', 'a.jpg', '.hidden.png'):
        write(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('no image')
    dataset = build(data_root=str(tmp_path))
    found = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [item['key'] for item in found] == ['a', 'b', 'deep/er/c']
    assert found[1]['gt_path'] == str(tmp_path / 'b.PNG')


def test_pairs_by_template_whatever_their_suffix(tmp_path):
    for name in ('baby', 'bird', 'sub/comic'):
        write(tmp_path / f'HR/{name}.png')
        write(tmp_path / f'LR/X4/{name}x4.jpg')
    dataset = build(
        data_root=str(tmp_path),
        data_prefix=dict(gt='HR', img='LR/X4'),
        filename_tmpl=dict(img='{}x4'),
    )
    info = dataset.get_data_info(2)
    assert info['gt_path'] == str(tmp_path / 'HR/sub/comic.png')
    assert info['img_path'] == str(tmp_path / 'LR/X4/sub/comicx4.jpg')


def test_missing_images_and_partners(tmp_path):
    with pytest.raises(FileNotFoundError, match='no image'):
        build(data_root=str(tmp_path / 'nowhere'))
    write(tmp_path / 'HR/a.png')
    write(tmp_path / 'HR/b.png')
    write(tmp_path / 'LR/a.png')
    with pytest.raises(FileNotFoundError, match=r'1 of 2 .*LR/b\.\*'):
        build(data_root=str(tmp_path), data_prefix=dict(gt='HR', img='LR'))


def test_noise_is_gaussian_and_not_clipped():
    noisy = step(sigma=70, seed=0)(clean(value=20, shape=(200, 250, 1)))['img']
    noise = noisy - 20
    assert noisy.dtype == np.float32
    assert noisy.min() < -150
    assert abs(noise.mean()) < 1
    assert noise.std() == pytest.approx(70, rel=0.02)
    assert abs((noise**3).mean()) / 70**3 < 0.05  # clipping would skew it
    assert len(np.unique(noise)) > 40_000  # nor is it rounded


def test_a_seed_gives_every_file_its_own_lasting_noise():
    seeded = step(sigma=25, seed=3)
    first = seeded(clean('a.png'))['img']
    other = seeded(clean('b.png'))['img']
    np.testing.assert_array_equal(first, seeded(clean('a.webp'))['img'])
    assert np.abs(first - other).max() > 25
    changed = step(sigma=25, seed=4)(clean('a.png'))['img']
    assert np.abs(first - changed).max() > 25


def test_without_a_seed_noise_follows_the_run():
    free = step(sigma=25)
    np.random.seed(0)
    first, second = free(clean())['img'], free(clean())['img']
    np.random.seed(0)
    np.testing.assert_array_equal(first, free(clean())['img'])
    assert np.abs(first - second).max() > 25


def test_blind_levels_span_the_range():
    free = step(sigma=(10, 50))
    np.random.seed(0)
    levels = [(free(clean())['img'] - 128).std() for _ in range(60)]
    assert 9 < min(levels) < 15
    assert 45 < max(levels) < 52


def test_the_clean_image_and_its_channels_are_known():
    results = clean()
    results.update(gt_channel_order='rgb', gt_color_type='color')
    found = step(sigma=9)(results)
    assert (found['gt'] == 128).all()
    assert found['img_channel_order'] == 'rgb'
    assert found['img_color_type'] == 'color'


@pytest.mark.parametrize('sigma', [-1, (5, 2), (1, 2, 3)])
def test_no_noise_level(sigma):
    with pytest.raises(ValueError, match='sigma is'):
        AddGaussianNoise(sigma=sigma)


def test_low_resolution_of_a_cut_image():
    image = np.random.default_rng(0).integers(0, 256, (17, 30, 3), np.uint8)
    found = BicubicDownscale(scale=3)({'gt': image})
    np.testing.assert_array_equal(found['gt'], image[:15, :30])
    np.testing.assert_array_equal(found['img'], imresize(image[:15], 1 / 3))
    assert found['scale'] == 3
    with pytest.raises(ValueError, match='scale is 0'):
        BicubicDownscale(scale=0)
