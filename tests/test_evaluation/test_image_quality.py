"""PSNR and SSIM against the rules written out, and against scikit-image."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

from mmdhp.evaluation import PSNR, SSIM


def images(channels=3, seed=0):
    """A true image and a restored one, ``(C, H, W)``, blue first."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 256, (channels, 24, 31)).astype(np.float32)
    image = truth + draw.normal(0, 20, truth.shape).astype(np.float32)
    return torch.from_numpy(truth), torch.from_numpy(image)


def measure(metric, *pairs):
    samples = [
        {'gt_img': truth, 'output': {'pred_img': image}}
        for truth, image in pairs
    ]
    metric.process(None, samples)
    return metric.compute_metrics(metric.results)[metric.name]


def psnr(a, b):
    return 10 * math.log10(255**2 / ((a - b) ** 2).mean())


def rounded(image):
    return image.double().numpy().clip(0, 255).round()


def test_luma_rounded_pixels_and_border():
    truth, image = images()
    error = rounded(truth) - rounded(image)
    blue, green, red = error[:, 4:-4, 4:-4]
    luma = (65.738 * red + 129.057 * green + 25.064 * blue) / 256
    expected = 10 * math.log10(255**2 / (luma**2).mean())
    found = measure(PSNR(crop_border=4, convert_to='Y'), (truth, image))
    assert found == pytest.approx(expected, abs=2e-4)  # of the paper's digits


def test_colour_counts_all_channels():
    truth, image = images()
    expected = psnr(
        rounded(truth)[:, 10:-10, 10:-10], rounded(image)[:, 10:-10, 10:-10]
    )
    assert measure(PSNR(crop_border=10), (truth, image)) == pytest.approx(
        expected
    )


def test_a_mean_of_images_not_of_errors():
    first, second = images(1), images(1, seed=1)
    second = second[0], second[0] + 1
    expected = (psnr(*map(rounded, first)) + psnr(*map(rounded, second))) / 2
    assert measure(PSNR(), first, second) == pytest.approx(expected)


def test_equal_images_after_rounding():
    truth, _ = images()
    assert measure(PSNR(), (truth, truth + 0.4)) == math.inf
    assert measure(SSIM(), (truth, truth + 0.4)) == pytest.approx(1)


def test_a_gray_file_is_compared_as_gray():
    gray = images(1)
    colour = tuple(image.expand(3, -1, -1) for image in gray)
    metric = PSNR(convert_to='Y')
    expected = psnr(*map(rounded, gray))
    assert measure(metric, (gray[0], colour[1])) == pytest.approx(expected)
    gain = 20 * math.log10(255 / 219)
    assert measure(PSNR(convert_to='Y'), colour) == pytest.approx(
        expected + gain
    )


@pytest.mark.parametrize('channels', [1, 3])
def test_ssim_is_scikit_images(channels):
    metrics = pytest.importorskip('skimage.metrics')
    truth, image = images(channels)
    expected = np.mean(
        [
            metrics.structural_similarity(
                a[2:-2, 2:-2],
                b[2:-2, 2:-2],
                data_range=255,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for a, b in zip(rounded(truth), rounded(image))
        ]
    )
    found = measure(SSIM(crop_border=2), (truth, image))
    assert found == pytest.approx(expected, abs=1e-9)


def test_loops_of_both_frameworks(monkeypatch):
    truth, image = images(1)
    sample = {'gt_img': truth[None], 'output': {'pred_img': image[None]}}
    for arguments in ((1,), ()):
        metric = METRICS.build(dict(type='mmdhp.PSNR', prefix='Set5'))
        loader = SimpleNamespace(dataset=[None])
        metric.prepare(None, loader)
        assert metric.get_metric_sampler(None, loader, [metric]) is loader
        metric.process(None, [sample])
        found = metric.evaluate(*arguments)
        assert found == {
            'Set5/PSNR': pytest.approx(psnr(*map(rounded, (truth, image))))
        }


def test_mistakes():
    truth, image = images()
    with pytest.raises(ValueError, match="convert_to is 'y'"):
        PSNR(convert_to='y')
    with pytest.raises(ValueError, match='crop_border is -1'):
        SSIM(crop_border=-1)
    with pytest.raises(ValueError, match=r'\(3, 12, 31\) but .*\(3, 24, 31\)'):
        measure(PSNR(), (truth, image[:, :12]))
    with pytest.raises(ValueError, match='nothing is left of .* 24x31'):
        measure(PSNR(crop_border=12), (truth, image))
    with pytest.raises(ValueError, match='window of 11x11'):
        measure(SSIM(crop_border=7), (truth, image))
