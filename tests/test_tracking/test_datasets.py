"""Data sets in their published layouts, sampling, augmentation, packing."""

import json

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS

from mmdhp.datasets.tracking.annotation_files import read_numbers
from mmdhp.datasets.tracking.toy_sequences import make_toy_set

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


# -------------------------------------------------------------------- training
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
