"""Sampling, augmentation, crops, samplers."""

import numpy as np
import pytest
import torch
from mmengine.registry import DATA_SAMPLERS, TRANSFORMS

from mmdhp.datasets.tracking.frame_transforms import crop_square
from mmdhp.datasets.tracking.toy_sequences import draw_sequence
from mmdhp.datasets.tracking.track_sampling import _share


# -------------------------------------------------------------------- sampling
def video(length=60, hidden=(), is_video=True):
    visible = np.ones(length, dtype=bool)
    visible[list(hidden)] = False
    return dict(
        frame_path=lambda i: f'{i}.jpg',
        bboxes=np.arange(length)[:, None] * np.ones(4),
        visible=visible,
        is_video=is_video,
        video_name='v',
    )


def draw(results, **cfg):
    sampling = TRANSFORMS.build(dict(type='mmdhp.DiMPSampling', **cfg))
    out = sampling(results)
    return out and [int(path[:-4]) for path in out['img_paths']]


def test_test_frames_follow_training_frames():
    bases = set()
    for _ in range(300):
        base, *others = draw(video(), max_frame_range=9)
        bases.add(base)
        assert len(others) == 5
        assert all(base - 9 <= f < base for f in others[:2])
        assert all(base < f < base + 9 for f in others[2:])
    assert min(bases) < 5
    assert max(bases) > 54


def test_hidden_frames_are_not_drawn():
    hidden = range(20, 34)
    for _ in range(100):
        base, *others = draw(video(hidden=hidden), max_frame_range=9)
        assert not {base, *others} & set(hidden)
        assert max(others[:2]) < base < min(others[2:])


def test_the_range_grows_until_there_are_frames():
    hidden = [i for i in range(60) if i % 4]
    assert draw(video(hidden=hidden), max_frame_range=1)


@pytest.mark.parametrize(
    'results', [video(19), video(hidden=range(48)), video(0)]
)
def test_unsuited_videos(results):
    assert draw(results) is None


def test_images_are_repeated():
    assert draw(video(1, is_video=False)) == [0] * 6


def test_impossible_sampling_is_refused():
    with pytest.raises(ValueError, match='num_train=0, num_test=3'):
        draw(video(), num_train=0)


# ------------------------------------------------------------------ transforms
def test_crops_are_exact():
    y, x = np.mgrid[:60, :80] + 0.5
    image = np.dstack([x, y, x + y]).astype(np.float32)
    crop = crop_square(image, np.array([10.3, 20.7]), 24.0, 32)
    for row, column in ((0, 0), (7, 21), (31, 31)):
        expected = [
            10.3 + (column + 0.5) * 0.75,
            20.7 + (row + 0.5) * 0.75,
        ]
        # OpenCV rounds positions to 1/32 of a pixel.
        assert crop[row, column, :2] == pytest.approx(expected, abs=0.04)
    noise = np.random.default_rng(0).normal(size=(60, 60, 3))
    small = crop_square(noise.astype(np.float32), np.zeros(2), 60.0, 10)
    assert small.std() < 0.25


def crop(box, size=(60, 80), **cfg):
    transform = TRANSFORMS.build(
        dict(type='mmdhp.CropLikeDiMP', output_size=40, **cfg)
    )
    results = dict(
        imgs=[np.zeros((*size, 3), np.uint8)],
        bboxes=np.array([box]),
        jittered_bboxes=np.array([box]),
    )
    return transform(results)['bboxes'][0]


def test_crops_move_into_the_image_where_they_fit():
    # Centre (6, 30), side 20: moved to start at x = 0.
    assert crop([4.0, 28, 4, 4]).tolist() == [8, 16, 8, 8]
    # Inside: the target is in the centre.
    assert crop([38.0, 28, 4, 4]).tolist() == [16, 16, 8, 8]
    # Side 75 fits in width only: moved along x, centred along y.
    assert crop([0.0, 20, 15, 15]).tolist() == pytest.approx(
        [0, 30 * 40 / 75, 8, 8]
    )


def test_jitter_is_bounded_and_per_frame():
    transform = TRANSFORMS.build(
        dict(
            type='mmdhp.SeqBboxJitter',
            center_jitter_factor=[0, 2],
            scale_jitter_factor=[0, 0.5],
        )
    )
    box = np.array([[10.0, 20, 16, 9]] * 2)
    found = np.array(
        [transform(dict(bboxes=box))['jittered_bboxes'] for _ in range(500)]
    )
    assert np.allclose(found[:, 0], box[0])
    moved = found[:, 1]
    center = moved[:, :2] + moved[:, 2:] / 2 - [18, 24.5]
    side = np.sqrt(moved[:, 2:].prod(1))
    assert (np.abs(center) <= side[:, None]).all()
    assert np.log(moved[:, 2] / 16).std() == pytest.approx(0.5, rel=0.1)
    with pytest.raises(ValueError, match='has 2 values for 3 frames'):
        transform(dict(bboxes=box[[0, 0, 0]]))


def test_gray_is_drawn_once_for_all_frames():
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (4, 5, 3), np.uint8) for _ in range(6)]
    gray = TRANSFORMS.build(dict(type='mmdhp.GrayAug', prob=0.5))
    states = set()
    for _ in range(50):
        out = gray(dict(imgs=frames))['imgs']
        states.add(tuple((i == i[..., :1]).all() for i in out))
    assert states == {(True,) * 6, (False,) * 6}


def test_brightness_stays_in_range():
    bright = TRANSFORMS.build(dict(type='mmdhp.BrightnessAug'))
    frames = [np.full((2, 2, 3), 240, np.uint8)] * 300
    out = np.array(bright(dict(imgs=frames))['imgs'])
    assert out.max() == 255
    assert 192 <= out.min() < 200


# -------------------------------------------------------------------- samplers
class Lengths:
    def __init__(self, lengths):
        self.lengths = lengths
        self.num_videos = len(lengths)
        self.num_frames = lengths.__getitem__


def test_videos_come_frame_by_frame():
    sampler = DATA_SAMPLERS.build(
        dict(type='mmdhp.VideoSampler', dataset=Lengths([2, 3]))
    )
    assert list(sampler) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert len(sampler) == 5
    with pytest.raises(TypeError, match='needs a data set of videos, but got'):
        DATA_SAMPLERS.build(dict(type='mmdhp.VideoSampler', dataset=[1]))


@pytest.mark.parametrize(
    'lengths', [[5, 1, 1, 9, 2], [1], [4, 4], [100, 1, 1], []]
)
@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_every_video_belongs_to_one_process(lengths, world_size):
    shares = [list(_share(lengths, r, world_size)) for r in range(world_size)]
    assert sum(shares, []) == list(range(len(lengths)))


def test_quota():
    cfg = dict(type='mmdhp.QuotaSampler', dataset=range(5), seed=3)
    sampler = DATA_SAMPLERS.build(dict(cfg, samples_per_epoch=15))
    first = list(sampler)
    assert np.bincount(first).tolist() == [3] * 5
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    drawn = DATA_SAMPLERS.build(
        dict(cfg, samples_per_epoch=40, replacement=True)
    )
    assert len(list(drawn)) == len(drawn) == 40
    with pytest.raises(ValueError, match='samples_per_epoch is 0'):
        DATA_SAMPLERS.build(dict(cfg, samples_per_epoch=0))


# ------------------------------------------------------------------- generated
def test_generated_sequences_are_reproducible_and_move():
    first, second = (
        draw_sequence(np.random.default_rng(4), 30, distractors=1)
        for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first[0], second[0]))
    found = first[1]
    assert found.shape == (30, 4)
    assert np.array_equal(found, second[1])
    steps = np.linalg.norm(
        np.diff(found[:, :2] + found[:, 2:] / 2, axis=0), axis=1
    )
    assert 0 < steps.max() < 8
    inside = (found[:, :2] >= 0) & (found[:, :2] + found[:, 2:] <= [320, 240])
    assert inside.mean() > 0.9
    assert torch.from_numpy(first[0][0]).shape == (240, 320, 3)
