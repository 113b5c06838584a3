"""One-pass evaluation against cases worked by hand."""

import csv
import zipfile

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

from mmdhp.evaluation.ope import (
    OVERLAPS,
    got10k_overlaps,
    repaired,
    score_frames,
    summarize,
    summarize_areas,
    summarize_got10k,
)

TRUE = np.tile([10.0, 10, 20, 20], (4, 1))
FOUND = np.array(
    [[10.0, 10, 20, 20], [12, 10, 20, 20], [10, 20, 20, 20], [60, 60, 20, 20]]
)
SEEN = np.ones(4, dtype=bool)


def test_frames_by_hand():
    scores = score_frames(FOUND, TRUE, SEEN)
    overlap = [1, 9 / 11, 1 / 3, 0]
    assert scores.overlap.tolist() == pytest.approx(overlap)
    assert scores.error.tolist() == pytest.approx([0, 2, 10, 50 * 2**0.5])
    norm = [0, 0.1, 0.5, 2.5 * 2**0.5]
    assert scores.norm_error.tolist() == pytest.approx(norm)


def test_numbers_by_hand():
    scores = score_frames(FOUND, TRUE, SEEN)
    assert summarize(scores.curves()) == pytest.approx(
        {'success': 52.380952, 'precision': 75, 'norm_precision': 50}
    )
    assert summarize_areas(scores) == pytest.approx(
        {'success': 53.125, 'precision': 70, 'norm_precision': 46.25}
    )
    overlaps = got10k_overlaps(FOUND, TRUE, SEEN, (100, 100))
    assert summarize_got10k(overlaps) == pytest.approx(
        {'AO': 38.383838, 'SR_0.50': 100 / 3, 'SR_0.75': 100 / 3}
    )


def test_a_perfect_tracker_misses_the_last_threshold():
    scores = score_frames(TRUE, TRUE, SEEN)
    assert summarize(scores.curves())['success'] == pytest.approx(2000 / 21)
    assert summarize_areas(scores)['success'] == pytest.approx(97.5)


def test_thresholds_are_exact():
    assert OVERLAPS[3] == 0.15  # 3 * 0.05 is not
    assert len(OVERLAPS) == 21


def test_ties_count_for_errors_and_not_for_overlaps():
    true = np.array([[0.0, 0, 10, 10]] * 2)
    found = np.array([[0.0, 0, 10, 10], [20, 0, 10, 10]])
    curves = score_frames(found, true, SEEN[:2]).curves()
    assert curves['precision'][20] == 1
    assert curves['precision'][19] == 0.5
    half = np.array([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    curves = score_frames(half, true, SEEN[:2]).curves()
    assert curves['success'][9] == 1
    assert curves['success'][10] == 0.5


def test_the_first_frame_has_the_true_box():
    found = FOUND.copy()
    found[0] = [500, 500, 3, 3]
    assert score_frames(found, TRUE, SEEN).overlap[0] == 1


def test_broken_boxes_repeat_the_previous_one():
    boxes = np.array([[1.0, 2, 3, 4], [np.nan, 2, 3, 4], [5, 6, 0, 4]])
    assert repaired(boxes).tolist() == [[1, 2, 3, 4]] * 3


def test_frames_without_a_true_size():
    true = TRUE.copy()
    true[2, 2:] = 0
    missed = score_frames(FOUND, true, SEEN)
    assert missed.overlap[2] == -1
    assert missed.error[2] == missed.norm_error[2] == np.inf
    toolkit = score_frames(FOUND, true, SEEN, invalid='toolkit')
    assert toolkit.error[2] == toolkit.norm_error[2] == -1
    true[1] = np.nan
    curves = score_frames(FOUND, true, SEEN).curves()
    assert curves['success'][0] == 0.25


def test_invisible_frames_are_misses_but_count():
    seen = np.array([True, True, False, True])
    curves = score_frames(FOUND, TRUE, seen, only_visible=True).curves()
    assert curves['success'][0] == 0.5
    assert curves['precision'][20] == 0.5
    hidden = score_frames(
        FOUND, TRUE, seen, only_visible=True, invalid='toolkit'
    )
    assert hidden.error[2] == np.inf


def test_got10k_clips_boxes_and_skips_the_first_frame():
    true = np.array([[0.0, 0, 10, 10]] * 3)
    found = np.array([[0.0, 0, 10, 10], [-10, 0, 20, 10], [5, 0, 10, 10]])
    seen = np.array([True, True, False])
    assert got10k_overlaps(found, true, seen, (50, 50)).tolist() == [1]


def sample(
    frame, found, true, video=0, name='a-1', visible=True, size=(90, 80)
):
    def corners(box):
        x, y, w, h = box
        return {'bboxes': torch.tensor([[x, y, x + w, y + h]])}

    return dict(
        video_id=video,
        video_name=name,
        frame_id=frame,
        pred_track_instances=corners(found),
        gt_instances=corners(true),
        visible=visible,
        ori_shape=size,
        seconds=0.5,
    )


def evaluate(samples, **cfg):
    metric = METRICS.build(dict(type='mmdhp.SOTMetric', **cfg))
    for one in samples:
        metric.process(None, [one])
    return metric.evaluate(len(samples))


def two_videos():
    first = [sample(i, FOUND[i], TRUE[i]) for i in range(4)]
    second = [sample(i, TRUE[i], TRUE[i], 1, 'b-1') for i in range(3)]
    return [*second, *reversed(first)]


def test_metric_averages_over_sequences_and_writes_files(tmp_path):
    found = evaluate(two_videos(), outfile_prefix=str(tmp_path / 'out'))

    assert found == pytest.approx(
        {
            'sot/success': (52.380952 + 95.238095) / 2,
            'sot/norm_precision': 75,
            'sot/precision': 87.5,
        }
    )
    with open(tmp_path / 'out' / 'sequences.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['sequence'] for row in rows] == ['a-1', 'b-1']
    assert [row['frames'] for row in rows] == ['4', '3']
    assert float(rows[0]['fps']) == 2
    for name in ('success', 'precision', 'norm_precision'):
        assert (tmp_path / 'out' / f'{name}.png').stat().st_size > 1000
    boxes = np.loadtxt(tmp_path / 'out' / 'boxes' / 'a-1.txt', delimiter=',')
    assert boxes.tolist() == FOUND.tolist()


@pytest.mark.parametrize(
    ('protocol', 'expected'),
    [
        ('lasot', {'sot/precision': 50, 'sot/norm_precision': 25}),
        ('trackingnet', {'sot/success': 53.125, 'sot/precision': 70}),
        ('got10k', {'sot/AO': 100 * (1 / 3 + 0) / 2, 'sot/SR_0.50': 0}),
    ],
)
def test_protocols(protocol, expected):
    hidden = protocol in ('lasot', 'got10k')
    samples = [
        sample(i, FOUND[i], TRUE[i], visible=not (hidden and i == 1))
        for i in range(4)
    ]
    found = evaluate(samples, protocol=protocol)
    assert {k: found[k] for k in expected} == pytest.approx(expected)


def test_trackingnet_rounds_coordinates():
    true = np.array([[0.0, 0, 10, 10]] * 2)
    samples = [sample(i, true[i] + 0.4, true[i]) for i in range(2)]
    found = evaluate(samples, protocol='trackingnet')
    assert found['sot/success'] == pytest.approx(97.5)


def test_server_files(tmp_path):
    unknown = np.full(4, np.nan)
    samples = [
        sample(i, FOUND[i], TRUE[i] if i == 0 else unknown) for i in range(4)
    ]
    folder = str(tmp_path / 'got')
    options = dict(format_only=True, outfile_prefix=folder)

    assert evaluate(samples, protocol='got10k', **options) == {}

    with zipfile.ZipFile(tmp_path / 'got' / 'boxes.zip') as archive:
        assert sorted(archive.namelist()) == [
            'a-1/a-1_001.txt',
            'a-1/a-1_time.txt',
        ]
    with pytest.raises(ValueError, match='1 of 1 sequences, a-1 first'):
        evaluate(samples)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(metric='VOT'), "metric is 'VOT'; there are OPE"),
        (dict(protocol='uav'), "protocol is 'uav'; there are otb, lasot"),
        (dict(metric_options=dict(invalid='hit')), "invalid is 'hit'"),
        (dict(metric_options=dict(visible=True)), 'metric_options is'),
        (dict(format_only=True), 'set outfile_prefix to a folder'),
    ],
)
def test_wrong_options_are_refused(cfg, message):
    with pytest.raises(ValueError, match=message):
        METRICS.build(dict(type='mmdhp.SOTMetric', **cfg))


def test_no_frames():
    with pytest.raises(ValueError, match='no frame has been tracked'):
        evaluate([])
