"""Data sets in their published layouts, sampling, augmentation, packing."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS

from mmdhp.datasets.tracking.annotation_files import read_numbers
from mmdhp.datasets.tracking.frame_transforms import crop_square
from mmdhp.datasets.tracking.toy_sequences import draw_sequence, make_toy_set
from mmdhp.datasets.tracking.track_sampling import _share

FRAMES = 24


def images(folder, names, size=(48, 64)):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        image = np.full((*size, 3), 10 * number % 250, np.uint8)
        cv2.imwrite(str(folder / name), image)


def boxes(count, separator=','):
    return '\n'.join(
        separator.join(map(str, (5 + i, 6, 20, 16))) for i in range(count)
    )


def lasot(root):
    for name in ('cat-1', 'cat-2', 'dog-7'):
        folder = root / name.split('-')[0] / name
        images(folder / 'img', [f'{i:08d}.jpg' for i in range(1, FRAMES + 1)])
        (folder / 'groundtruth.txt').write_text(boxes(FRAMES) + '\n')
        flags = ['0'] * FRAMES
        flags[3] = '1'
        (folder / 'full_occlusion.txt').write_text(','.join(flags))
        flags[3], flags[5] = '0', '1'
        (folder / 'out_of_view.txt').write_text(','.join(flags))
    (root / 'testing_set.txt').write_text('dog-7\ncat-2\n')
    (root / 'test_infos.txt').write_text(
        'The format of each line\n'
        'cat/cat-2/img,cat/cat-2/groundtruth.txt,1,24\n'
    )


def trackingnet(root):
    for chunk, count in (('TRAIN_0', FRAMES), ('TEST', 1)):
        names = [f'{i}.jpg' for i in range(FRAMES)]
        images(root / chunk / 'frames' / 'a-B_1', names)
        (root / chunk / 'anno').mkdir()
        (root / chunk / 'anno' / 'a-B_1.txt').write_text(boxes(count))


def got10k(root):
    names = ['GOT-10k_Val_000001', 'GOT-10k_Val_000002']
    (root / 'list.txt').parent.mkdir(exist_ok=True)
    (root / 'list.txt').write_text('\n'.join(names))
    for name in names:
        images(root / name, [f'{i:08d}.jpg' for i in range(1, FRAMES + 1)])
        (root / name / 'groundtruth.txt').write_text(boxes(FRAMES))
        absent, cover = ['0'] * FRAMES, ['8'] * FRAMES
        absent[2], cover[4] = '1', '0'
        (root / name / 'absence.label').write_text('\n'.join(absent))
        (root / name / 'cover.label').write_text('\n'.join(cover))


def otb(root):
    for name, separators, start, digits in (
        ('Board', [','], 1, 5),
        ('David', ['\t'], 300, 4),
        ('Jogging', [' ', ','], 1, 4),
        ('Tiger1', [','], 1, 4),
    ):
        files = [f'{i:0{digits}d}.jpg' for i in range(start, start + FRAMES)]
        images(root / name / 'img', files)
        for number, separator in enumerate(separators, 1):
            part = f'.{number}' if len(separators) > 1 else ''
            path = root / name / f'groundtruth_rect{part}.txt'
            path.write_text(boxes(FRAMES, separator))


LAYOUTS = {
    'LaSOT': (lasot, ['cat-1', 'cat-2', 'dog-7'], [3, 5]),
    'GOT10k': (got10k, ['GOT-10k_Val_000001', 'GOT-10k_Val_000002'], [2, 4]),
    'TrackingNet': (trackingnet, ['a-B_1'], []),
    'OTB100': (
        otb,
        ['Board', 'David', 'Jogging.1', 'Jogging.2', 'Tiger1'],
        [],
    ),
}
PIPELINE = [
    dict(type='mmdhp.LoadTrackImages'),
    dict(type='mmdhp.PackTrackInputs'),
]


def dataset(kind, root, **cfg):
    cfg.setdefault('pipeline', PIPELINE)
    return DATASETS.build(
        dict(type=f'mmdhp.{kind}Dataset', data_root=str(root), **cfg)
    )


@pytest.mark.parametrize('kind', LAYOUTS)
def test_published_layouts(kind, tmp_path):
    make, names, hidden = LAYOUTS[kind]
    make(tmp_path)
    chunks = dict(chunks=['TRAIN_0']) if kind == 'TrackingNet' else {}

    data = dataset(kind, tmp_path, test_mode=True, **chunks)

    found = [data.get_video(i).name for i in range(data.num_videos)]
    assert found == names
    for index, name in enumerate(names):
        skipped = 5 if name == 'Tiger1' else 0
        assert data.num_frames(index) == FRAMES - skipped
        truth = data.get_truth(index)
        assert truth.bboxes[0].tolist() == [5 + skipped, 6, 20, 16]
        assert np.flatnonzero(~truth.visible).tolist() == hidden
        for frame in (0, FRAMES - skipped - 1):
            item = data[index, frame]
            image = item['inputs']['img']
            assert image.shape == (1, 3, 48, 64)
            value = 10 * (frame + skipped) % 250
            assert abs(float(image.float().mean()) - value) < 2
            sample = item['data_samples']
            x = 5 + frame + skipped
            assert sample.gt_instances.bboxes.tolist() == [[x, 6, x + 20, 22]]
            assert (sample.frame_id, sample.video_id) == (frame, index)
            assert sample.ori_shape == (48, 64)
            assert not sample.unreadable


def test_lists_and_infos_choose_sequences(tmp_path):
    lasot(tmp_path)
    for file, names in (
        ('testing_set.txt', ['dog-7', 'cat-2']),
        ('test_infos.txt', ['cat-2']),
    ):
        data = dataset('LaSOT', tmp_path, ann_file=file, test_mode=True)
        found = [data.get_video(i).name for i in range(data.num_videos)]
        assert found == names
        assert data[0, 23]['data_samples'].video_length == 24
        assert data.get_truth(0).visible.sum() == 22


def test_test_sets_know_the_first_box_only(tmp_path):
    trackingnet(tmp_path)
    data = dataset('TrackingNet', tmp_path, test_mode=True)
    assert data.num_frames(0) == FRAMES
    assert data[0, 0]['data_samples'].gt_instances.bboxes.isfinite().all()
    assert data[0, 7]['data_samples'].gt_instances.bboxes.isnan().all()


def test_an_unreadable_frame_is_told_to_the_tracker(tmp_path):
    lasot(tmp_path)
    (tmp_path / 'cat' / 'cat-1' / 'img' / '00000003.jpg').write_bytes(b'no')
    data = dataset('LaSOT', tmp_path, test_mode=True)
    item = data[0, 2]
    assert item['data_samples'].unreadable
    assert item['inputs']['img'].shape == (1, 3, 1, 1)


@pytest.mark.parametrize(
    ('kind', 'cfg', 'error', 'message'),
    [
        ('LaSOT', dict(ann_file='no.txt'), FileNotFoundError, 'no ann_file'),
        ('LaSOT', {}, ValueError, 'LaSOTDataset: no sequences in'),
        ('GOT10k', {}, FileNotFoundError, 'no .*list.txt; set data_root'),
        ('TrackingNet', {}, FileNotFoundError, 'no .*TRAIN_0.anno; set `chu'),
    ],
)
def test_missing_data(kind, cfg, error, message, tmp_path):
    with pytest.raises(error, match=message):
        dataset(kind, tmp_path, **cfg)


def test_damaged_annotations(tmp_path):
    lasot(tmp_path)
    folder = tmp_path / 'cat' / 'cat-1'
    (folder / 'out_of_view.txt').write_text('0,0')
    data = dataset('LaSOT', tmp_path)
    with pytest.raises(ValueError, match='has 2 flags, but .* has 24 boxes'):
        data.get_truth(0)
    (folder / 'groundtruth.txt').write_text('1,2,3,4\n1,2,x,4\n')
    with pytest.raises(ValueError, match=r"line 2 is '1,2,x,4', but 4 numb"):
        data.get_truth(0)
    with pytest.raises(FileNotFoundError, match='no annotation file'):
        read_numbers(str(folder / 'none.txt'), 4)


def test_frames_are_asked_for_by_video(tmp_path):
    lasot(tmp_path)
    data = dataset('LaSOT', tmp_path, test_mode=True)
    with pytest.raises(TypeError, match='asked for item 3, .*VideoSampler'):
        data[3]


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


TRAIN = [
    dict(type='mmdhp.DiMPSampling'),
    dict(type='mmdhp.LoadTrackImages'),
    dict(type='mmdhp.GrayAug', prob=0.5),
    dict(
        type='mmdhp.SeqBboxJitter',
        center_jitter_factor=[3, 3, 3, 4.5, 4.5, 4.5],
        scale_jitter_factor=[0.25, 0.25, 0.25, 0.5, 0.5, 0.5],
    ),
    dict(type='mmdhp.CropLikeDiMP', output_size=80),
    dict(type='mmdhp.BrightnessAug'),
    dict(type='mmdhp.PackTrackInputs'),
]


def test_a_training_sample(tmp_path):
    make_toy_set(str(tmp_path), train=2, test=1, test_frames=3)
    data = dataset(
        'LaSOT', tmp_path, ann_file='training_set.txt', pipeline=TRAIN
    )
    assert len(data) == data.num_videos == 2
    item = data[1]
    for key, instances in (
        ('img', 'gt_instances'),
        ('search_img', 'search_gt_instances'),
    ):
        image = item['inputs'][key]
        assert image.shape == (3, 3, 80, 80)
        assert 0 <= image.min() < 200 < image.max() <= 255
        found = getattr(item['data_samples'], instances).bboxes
        assert found.shape == (3, 4)
        assert (found[:, 2:] > found[:, :2]).all()


def test_unreadable_frames_and_short_videos_are_drawn_again(tmp_path):
    make_toy_set(str(tmp_path), train=2, test=1, test_frames=3)
    for path in (tmp_path / 'toytrain' / 'toytrain-1' / 'img').iterdir():
        path.write_bytes(b'')
    cfg = dict(ann_file='training_set.txt', pipeline=TRAIN)
    data = dataset('LaSOT', tmp_path, **cfg)
    assert data[0]['data_samples'].video_name == 'toytrain-2'
    short = dict(
        type='mmdhp.LaSOTDataset',
        data_root=str(tmp_path),
        ann_file='testing_set.txt',
        pipeline=TRAIN,
    )
    joined = DATASETS.build(
        dict(
            type='mmdhp.RandomSampleConcatDataset',
            datasets=[short, dict(short, ann_file='training_set.txt')],
            dataset_sampling_weights=[0.9, 0.1],
        )
    )
    assert len(joined) == 3
    assert joined[0]['data_samples'].video_name == 'toytrain-2'
    joined.probabilities = np.array([1.0, 0.0])
    with pytest.raises(RuntimeError, match='none was suited'):
        joined[0]


@pytest.mark.parametrize('weights', [[1], [1, -1], [0, 0]])
def test_wrong_weights_are_refused(weights):
    cfg = dict(
        type='mmdhp.RandomSampleConcatDataset',
        datasets=[[1], [2]],
        dataset_sampling_weights=weights,
    )
    with pytest.raises(ValueError, match='dataset_sampling_weights is'):
        DATASETS.build(cfg)


def test_data_sets_are_drawn_by_their_weights():
    class Constant:
        def __init__(self, value):
            self.prepare_data = lambda index: value

        def __len__(self):
            return 5

    data = DATASETS.build(
        dict(
            type='mmdhp.RandomSampleConcatDataset',
            datasets=[Constant(0), Constant(1)],
            dataset_sampling_weights=[1, 3],
        )
    )
    np.random.seed(0)
    assert np.mean([data[0] for _ in range(2000)]) == pytest.approx(
        0.75, abs=0.03
    )


def test_coco_objects(tmp_path):
    images(tmp_path / 'train', ['a.jpg'])
    content = dict(
        images=[dict(id=3, file_name='a.jpg')],
        annotations=[
            dict(image_id=3, bbox=[4, 5, 20, 10], iscrowd=0),
            dict(image_id=3, bbox=[1, 1, 9, 9], iscrowd=1),
            dict(image_id=3, bbox=[1, 1, 0, 9]),
        ],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    data = dataset(
        'SOTCoco',
        tmp_path,
        ann_file='ann.json',
        data_prefix=dict(img_path='train'),
        pipeline=TRAIN,
    )
    assert len(data) == 1
    assert data[0]['inputs']['img'].shape == (3, 3, 80, 80)


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
