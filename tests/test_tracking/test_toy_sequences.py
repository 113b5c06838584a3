"""Generated videos that change: boxes hold what they should."""

import cv2
import numpy as np
import pytest

from mmdhp.datasets.tracking.toy_appearance import (
    SPREAD,
    Appearance,
    random_appearance,
)
from mmdhp.datasets.tracking.toy_camera import draw_panned_sequence
from mmdhp.datasets.tracking.toy_sequences import (
    OBJECT_SIDES,
    SIZE,
    draw_sequence,
    random_colors,
)


def rendered(shape=(40, 60), softness=0.5, **values):
    appearance = Appearance(softness)
    appearance.values.update(values)
    texture = np.full((*shape, 3), 100, np.float32)
    return appearance.render(texture, np.ones(shape, np.float32))


def test_nothing_changes_by_default():
    pixels, opacity, box = rendered()
    assert box[2:] == pytest.approx((60, 40), abs=1)
    assert pixels.max() == pixels.min() == 100
    assert opacity.sum() == pytest.approx(60 * 40, rel=1e-2)


@pytest.mark.parametrize(
    ('values', 'size'),
    [
        (dict(log_size=np.log(1.5)), (90, 60)),
        (dict(log_aspect=np.log(4)), (120, 20)),
        (dict(degrees=90), (40, 60)),
        (dict(degrees=45), (100 / 2**0.5, 100 / 2**0.5)),
    ],
    ids=['size', 'aspect', 'turn', 'slant'],
)
def test_boxes_hold_the_object(values, size):
    _, opacity, box = rendered(**values)
    assert box[2:] == pytest.approx(size, abs=2)
    x, y, width, height = box
    inside = opacity[y : y + height, x : x + width]
    # Its area is that of the object, and hardly any is outside of the box.
    area = 60 * 40 * np.exp(2 * values.get('log_size', 0))
    assert opacity.sum() == pytest.approx(area, rel=0.03)
    assert inside.sum() > 0.92 * opacity.sum()


def test_light_changes_and_stays_in_range():
    assert rendered(shade=20.0)[0].max() == 120
    assert rendered(log_gain=np.log(2), shade=5.0)[0].max() == 205
    assert rendered(shade=500.0)[0].max() == 255


def test_blur_smooths_the_texture():
    rng = np.random.default_rng(0)
    texture = rng.uniform(0, 255, (40, 60, 3)).astype(np.float32)
    mask = np.ones((40, 60), np.float32)
    sharp, blurred = Appearance(0.5), Appearance(0.5)
    blurred.values['blur'] = -2.0
    assert (
        blurred.render(texture, mask)[0].std()
        < 0.5 * sharp.render(texture, mask)[0].std()
    )


def test_the_walk_keeps_its_spread():
    rng = np.random.default_rng(0)
    appearance = random_appearance(rng)
    found = []
    for _ in range(4000):
        appearance.move(rng)
        found.append(list(appearance.values.values()))
    spread = np.std(found, axis=0) / list(SPREAD.values())
    assert spread.min() > 0.75  # correlated: about 200 independent draws
    assert spread.max() < 1.25


def similarity(images, boxes, first, second):
    """Correlation of the target's pixels in two frames."""
    patches = []
    for index in (first, second):
        x, y, width, height = (int(round(v)) for v in boxes[index])
        patch = images[index][y : y + height, x : x + width]
        small = cv2.resize(patch, (16, 16), interpolation=cv2.INTER_AREA)
        patches.append(small.astype(float).ravel())
    return np.corrcoef(patches)[0, 1]


@pytest.mark.parametrize('seed', range(3))
def test_a_panned_piece_stays_in_its_box(seed):
    images, boxes = draw_panned_sequence(
        np.random.default_rng(seed), 8, SIZE, OBJECT_SIDES, random_colors
    )
    assert images[0].shape == (SIZE[1], SIZE[0], 3)
    assert boxes.shape == (8, 4)
    right = boxes[:, :2] + boxes[:, 2:]
    assert boxes[:, :2].min() >= 0
    assert np.all(right <= SIZE)
    assert np.abs(np.diff(boxes[:, :2], axis=0)).max() > 0.5
    # It turns by a few degrees and its light changes, but it is the same.
    assert similarity(images, boxes, 0, 7) > 0.9


def test_half_of_changing_videos_are_panned():
    backgrounds = []
    for seed in range(16):
        sizes = []

        def texture(rng, size, kind, sizes=sizes):
            sizes.append(kind)
            return random_colors(rng, size, kind)

        rng = np.random.default_rng(seed)
        _, boxes = draw_sequence(rng, 2, 1, texture, True)
        assert boxes[:, 2:].min() > 5
        backgrounds.append('object' not in sizes)
    assert 4 <= sum(backgrounds) <= 12
