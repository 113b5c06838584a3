import numpy as np
import pytest

from mmdhp.datasets.imresize import crop_to_multiple, imresize


def keys(distance):
    x = abs(distance)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x <= 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def operator(size, scale):
    """MATLAB's resizing of one axis, one number after the other."""
    out = int(np.ceil(size * scale))
    matrix = np.zeros((out, size))
    stretch = min(scale, 1)
    for row in range(out):
        centre = (row + 0.5) / scale - 0.5
        for column in range(-20, size + 20):
            weight = keys(stretch * (centre - column))
            matrix[row, min(max(column, 0), size - 1)] += weight
    return matrix / matrix.sum(axis=1, keepdims=True)


@pytest.mark.parametrize('scale', [1 / 4, 1 / 3, 1 / 2, 2, 3, 4])
def test_floats_are_resized_by_the_operator_of_each_axis(scale):
    image = np.random.default_rng(0).uniform(0, 255, (13, 22, 3))
    expected = np.einsum(
        'ih,hwc,jw->ijc', operator(13, scale), image, operator(22, scale)
    )
    np.testing.assert_allclose(imresize(image, scale), expected)


def test_bytes_are_rounded_behind_each_axis_rows_first():
    image = np.random.default_rng(1).integers(0, 256, (24, 36), np.uint8)
    rows = operator(24, 1 / 4) @ image
    rows = np.floor(rows.clip(0, 255) + 0.5)
    both = np.floor((rows @ operator(36, 1 / 4).T).clip(0, 255) + 0.5)

    found = imresize(image, 1 / 4)

    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, both)
    once = operator(24, 1 / 4) @ image @ operator(36, 1 / 4).T
    assert (found != np.floor(once.clip(0, 255) + 0.5)).any()


def test_crop_to_multiple():
    image = np.arange(7 * 10 * 3).reshape(7, 10, 3)
    np.testing.assert_array_equal(crop_to_multiple(image, 4), image[:4, :8])
    assert crop_to_multiple(image, 1) is not image
    assert crop_to_multiple(image, 1).shape == image.shape


def test_mistakes():
    with pytest.raises(ValueError, match='scale is 0'):
        imresize(np.zeros((4, 4)), 0)
    with pytest.raises(ValueError, match=r'shape \(4,\)'):
        imresize(np.zeros(4), 2)
