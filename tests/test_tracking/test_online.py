"""The online tracker: its parts by hand, and videos that go wrong."""

import copy
import gc

import pytest
import torch
from mmengine.structures import InstanceData
from tracking_toy import build_small, with_values

from mmdhp.datasets.tracking import TrackDataSample
from mmdhp.models.online_tracking.box_refinement import BoxRefinement
from mmdhp.models.online_tracking.localization import (
    HARD_NEGATIVE,
    NORMAL,
    NOT_FOUND,
)
from mmdhp.models.online_tracking.scale_search import ScaleSearch

NO_REFINEMENT = BoxRefinement(num_init_random_boxes=0, box_refine_iter=0)

# --------------------------------------------------------------------- a video


@pytest.fixture(scope='module')
def model():
    return with_values(build_small()).eval()


def frame(seed=0, size=(90, 120)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, *size, generator=generator)


def force_scores(model, peak, value=0.9):
    """Let the score map have one peak."""

    def score(features, filters):
        found = torch.zeros(1, 1, 7, 7)
        found[0, 0, peak[0], peak[1]] = value
        return found

    forced = copy.deepcopy(model)
    forced.cls_head.score = score
    forced.tracker.refine = NO_REFINEMENT
    return forced


def run(model, frames, box=(40.0, 30.0, 24.0, 20.0)):
    state = model.tracker.start(model, frames[0], box)
    found = [model.tracker.track(model, state, image) for image in frames[1:]]
    return state, found


def test_a_central_peak_leaves_the_target_exactly_where_it_is(model):
    _, found = run(force_scores(model, (3, 3)), [frame(i) for i in range(6)])
    for box, score in found:
        assert box == pytest.approx([40, 30, 24, 20], abs=1e-9)
        assert score == pytest.approx(0.9)


class Loud(torch.nn.Module):
    """Features of a given root mean square for every crop of several."""

    def __init__(self, *levels):
        super().__init__()
        self.levels = levels

    def forward(self, level):
        features = torch.ones(len(level), 20, *level.shape[2:])
        if len(level) == len(self.levels):
            features *= torch.tensor(self.levels)[:, None, None, None]
        return features


def force_scales(model, peaks):
    """Let the score maps of crops of several sizes have central peaks."""

    def score(features, filters):
        assert len(features) == len(peaks)
        found = torch.zeros(len(peaks), 1, 7, 7)
        found[:, 0, 3, 3] = torch.tensor(peaks)
        return found

    forced = force_scores(model, (3, 3))
    forced.cls_head.score = score
    forced.cls_head.feat_conv = Loud(1.0, 1.0, 1.0)
    forced.tracker.scales = ScaleSearch((0.8, 1.0, 1.25), penalty=0.9)
    return forced


@pytest.mark.parametrize(
    ('peaks', 'factor'),
    [
        ((0.5, 0.8, 0.95), 1.25),
        ((0.95, 0.8, 0.5), 0.8),
        ((0.5, 0.8, 0.85), 1.0),  # worth less than the penalty
        ((0.1, 0.1, 0.2), 1.0),  # not found
    ],
)
def test_the_best_of_several_sizes_is_taken(model, peaks, factor):
    _, ((box, score),) = run(force_scales(model, peaks), [frame(), frame()])
    width, height = 24 * factor, 20 * factor
    assert box == pytest.approx(
        [52 - width / 2, 40 - height / 2, width, height], abs=1e-4
    )
    assert score == pytest.approx(0.8 if factor == 1 else 0.95) or (
        score == pytest.approx(0.2)
    )


def test_crops_are_compared_with_one_norm(model):
    # The middle crop scores highest only as its features are divided by less.
    forced = force_scales(model, (0.5, 0.8, 0.7))
    forced.cls_head.feat_conv = Loud(1.0, 1.0, 2.0)
    _, ((box, score),) = run(forced, [frame(), frame()])
    assert box[2:] == pytest.approx([30, 25])
    assert score == pytest.approx(0.7)


def test_a_growing_target_is_stored_at_its_size(model):
    forced = force_scales(model, (0.5, 0.8, 0.95))
    state, _ = run(forced, [frame(), frame()])
    # In the crop, which is as much larger, it has the size it always has.
    torch.testing.assert_close(
        state.memory.stored()[1][-1, 2:], state.memory.boxes[0, 2:]
    )


def test_without_refinement_the_box_head_does_not_run(model):
    forced = force_scores(model, (3, 3))
    forced.bbox_head.test_features = None  # would fail if it were called
    run(forced, [frame(), frame()])


def test_a_peak_moves_the_target_by_cells(model):
    _, ((box, _),) = run(force_scores(model, (3, 4)), [frame(), frame()])
    scale = 4 * (24 * 20) ** 0.5 / 96
    assert box == pytest.approx([40 + 16 * scale, 30, 24, 20])


def test_a_lost_target_keeps_its_box_and_learns_nothing(model):
    lost = force_scores(model, (0, 0), 0.1)
    state, found = run(lost, [frame(i) for i in range(25)])
    assert state.flag == NOT_FOUND
    assert all(box == [40, 30, 24, 20] for box, _ in found)
    assert state.memory.num_stored == 15
    again = force_scores(model, (3, 3))
    again.tracker.track(again, state, frame(99))
    assert state.flag == NORMAL
    assert state.memory.num_stored == 16


def test_a_fifth_of_the_target_stays_in_the_frame(model):
    leaving = force_scores(model, (3, 6))
    _, found = run(leaving, [frame(i) for i in range(12)])
    box, _ = found[-1]
    assert box[0] == pytest.approx(120 - 0.2 * 24)
    assert box[1:] == pytest.approx([30, 24, 20])


def test_unreadable_frames_keep_the_box(model):
    frames = [frame(0), None, None, frame(1)]
    state, found = run(force_scores(model, (3, 3)), frames)
    assert [score for _, score in found] == pytest.approx([0, 0, 0.9])
    assert state.frame == 4
    assert state.flag == NORMAL


def test_an_unreadable_first_frame_delays_the_start(model):
    frames = [None, None, frame(0), frame(1)]
    state, found = run(force_scores(model, (3, 3)), frames)
    assert [score for _, score in found] == pytest.approx([0, 0, 0.9])
    assert state.memory.num_stored == 16


@pytest.mark.parametrize(
    'box',
    [(40.0, 30.0, 1.0, 1.0), (0.0, 0.0, 120.0, 90.0), (-20.0, 50, 30, 60)],
    ids=['one pixel', 'whole frame', 'over the border'],
)
def test_extreme_boxes(model, box):
    _, found = run(model, [frame(i) for i in range(4)], box)
    for found_box, score in found:
        values = torch.tensor([*found_box, score])
        assert values.isfinite().all()
        assert min(found_box[2:]) > 0


@pytest.mark.parametrize(
    ('box', 'message'),
    [
        ((10, 10, 0, 5), 'x, y, w, h = 10, 10, 0, 5; width and height must'),
        ((10, 10, float('nan'), 5), 'all numbers finite'),
        ((120, 10, 5, 5), 'outside of the frame, which is 120 x 90 pixels'),
        ((-9, 10, 5, 5), 'outside of the frame'),
    ],
)
def test_boxes_that_show_nothing_are_refused(model, box, message):
    with pytest.raises(ValueError, match=message):
        model.tracker.start(model, frame(), box, name='street')


def test_memory_does_not_grow_over_500_frames(model):
    fast = force_scores(model, (3, 3))
    fast.tracker.schedule = copy.deepcopy(fast.tracker.schedule)
    state = fast.tracker.start(fast, frame(), (40.0, 30.0, 24.0, 20.0))

    def numbers():
        gc.collect()
        alive = [o for o in gc.get_objects() if isinstance(o, torch.Tensor)]
        return len(alive), sum(t.numel() for t in alive)

    image = frame(1)
    for _ in range(60):
        fast.tracker.track(fast, state, image)
    before = numbers()
    for _ in range(440):
        fast.tracker.track(fast, state, image)
    assert numbers() == before
    assert state.memory.num_stored == 50
    assert state.filters.isfinite().all()
    assert not state.filters.requires_grad


def test_the_filter_is_improved_when_it_is_due(model):
    fast = force_scores(model, (3, 3))
    counts = []
    fast.tracker._improve = lambda model, state, count: counts.append(count)
    state = fast.tracker.start(fast, frame(), (40.0, 30.0, 24.0, 20.0))
    for _ in range(41):
        fast.tracker.track(fast, state, frame(1))
    due = {0: 10, 20: 2, 40: 2}  # after the first frame, which is number 1
    assert counts == [due.get(i, 0) for i in range(42)]


def test_hard_negatives_improve_the_filter_at_once(model):
    schedule = model.tracker.schedule
    assert schedule.iterations(HARD_NEGATIVE, 7) == 1
    assert schedule.iterations(NORMAL, 7) == 0
    assert schedule.iterations(NORMAL, 21) == 2


# ---------------------------------------------------------------- in MMEngine
def sample(frame_id, video_id=0, **facts):
    found = TrackDataSample(
        metainfo=dict(frame_id=frame_id, video_id=video_id, **facts)
    )
    box = torch.tensor([[40.0, 30.0, 64.0, 50.0]])
    found.gt_instances = InstanceData(bboxes=box)
    return found


def predict(model, found, seed=0):
    (out,) = model({'img': frame(seed)[None, None]}, [found], mode='predict')
    return out.pred_track_instances


def test_results_do_not_depend_on_the_order_of_videos(model):
    def boxes(videos):
        found = {}
        for video in videos:
            for i in range(3):
                result = predict(model, sample(i, video), seed=i)
                found[video, i] = result.bboxes[0].tolist()
        return found

    first = boxes([0, 1])
    assert first == boxes([1, 0])
    assert first[0, 2] != first[1, 2]
    assert first[0, 0] == [40, 30, 64, 50]


def test_frames_out_of_order_are_refused(model):
    predict(model, sample(0))
    with pytest.raises(
        ValueError, match='got frame 2 of video 0, but expects'
    ):
        predict(model, sample(2))
    with pytest.raises(ValueError, match='got frame 1 of video 4'):
        predict(model, sample(1, 4))


def test_batches_and_models_without_a_tracker_are_refused(model):
    images = {'img': frame()[None, None]}
    with pytest.raises(ValueError, match='a batch of 2; set batch_size=1'):
        model(images, [sample(0), sample(0, 1)], mode='predict')
    plain = build_small(tracker=None)
    with pytest.raises(ValueError, match='the model needs a `tracker`'):
        plain(images, [sample(0)], mode='predict')
