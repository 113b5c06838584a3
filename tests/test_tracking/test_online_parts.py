"""The online tracker: its parts by hand, and videos that go wrong."""

import pytest
import torch

from mmdhp.models.online_tracking.box_refinement import BoxRefinement
from mmdhp.models.online_tracking.frame_crops import Crop, Pose, blur, cut
from mmdhp.models.online_tracking.init_samples import InitAugmentation
from mmdhp.models.online_tracking.localization import (
    HARD_NEGATIVE,
    NORMAL,
    NOT_FOUND,
    UNCERTAIN,
    Localizer,
)
from mmdhp.models.online_tracking.sample_memory import SampleMemory
from mmdhp.models.online_tracking.scale_search import ScaleSearch


# ------------------------------------------------------------------------ crop
def test_boxes_return_from_the_crop():
    crop = Crop((123.4, 56.7), 1.7, 288)
    box = [100.25, 40.5, 33.0, 21.0]
    back = crop.box_to_frame(crop.box_to_crop(box))
    assert back == pytest.approx(box, abs=1e-9)
    assert crop.box_to_crop([123.4, 56.7, 17, 34]) == [144, 144, 10, 20]


def ramp(height=40, width=50):
    """Values are the positions of the pixels' centres."""
    y, x = torch.meshgrid(
        torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing='ij'
    )
    return torch.stack([x, y, x + y])


def test_a_crop_samples_exact_positions():
    crop = Crop((25.3, 19.1), 0.8, 16)
    image = cut(ramp(), crop)[0]
    for row, column in ((0, 0), (3, 11), (15, 15)):
        x, y, _, _ = crop.box_to_frame([column + 0.5, row + 0.5, 0, 0])
        assert image[:2, row, column].tolist() == pytest.approx(
            [x, y], abs=1e-4
        )


def test_the_border_is_repeated():
    image = cut(ramp(), Crop((0.0, 20.0), 1.0, 20))[0]
    assert torch.all(image[0, :, :10] == 0.5)
    assert image[0, 0, 12] == pytest.approx(2.5)


def test_large_crops_are_averaged_first():
    noise = torch.randn(3, 120, 120)
    crop = Crop((60.0, 60.0), 6.0, 20)
    assert cut(noise, crop).std() < 0.25
    x, y, _, _ = crop.box_to_frame([7.5, 4.5, 0, 0])
    image = cut(ramp(120, 120), crop)[0]
    assert image[:2, 4, 7].tolist() == pytest.approx([x, y], abs=1e-3)


def test_poses_move_the_content():
    frame = torch.zeros(1, 21, 21)
    frame[0, 10, 14] = 1  # 4 to the right of the centre
    crop = Crop((10.5, 10.5), 1.0, 21)

    def peak(pose):
        return divmod(int(cut(frame, crop, pose).argmax()), 21)

    assert peak(Pose()) == (10, 14)
    assert peak(Pose((3.0, -2.0))) == (8, 17)
    assert peak(Pose(flip=True)) == (10, 6)
    assert peak(Pose((2.0, 0.0), flip=True)) == (10, 8)
    assert peak(Pose(degrees=90)) in ((14, 10), (6, 10))
    assert peak(Pose(degrees=90)) != peak(Pose(degrees=-90))


def test_blur_keeps_the_mean_and_its_direction():
    image = torch.zeros(1, 3, 21, 21)
    image[:, :, 10, 10] = 1
    found = blur(image, (3, 1))
    torch.testing.assert_close(found.sum((2, 3)), torch.ones(1, 3))
    assert found[0, 0, 13, 10] > found[0, 0, 10, 13]


def test_views_of_the_first_frame():
    views = InitAugmentation()
    generator = torch.Generator().manual_seed(0)
    crop = Crop((25.0, 20.0), 0.5, 48)
    images, boxes = views.views(
        ramp(), crop, [20.0, 21.0, 8.0, 6.0], generator
    )
    assert images.shape == (13, 3, 48, 48)
    torch.testing.assert_close(images[:1], cut(ramp(), crop))
    assert boxes[0].tolist() == [20, 21, 8, 6]
    assert (boxes[1:5, 0] - 20).tolist() == [14, -14, 14, -14]
    assert torch.all(boxes[:, 2:] == boxes[0, 2:])
    assert (boxes[5:, :2] - boxes[0, :2]).abs().max() <= 8
    dropped = views.dropped(torch.ones(1, 2000, 2, 2), generator)
    assert dropped.shape == (2, 2000, 2, 2)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert (dropped == 0).float().mean() == pytest.approx(0.2, abs=0.03)


# ---------------------------------------------------------------- localisation
def scores(*peaks):
    found = torch.zeros(19, 19)
    for row, column, value in peaks:
        found[row, column] = value
    return found


@pytest.mark.parametrize(
    ('peaks', 'flag', 'shift'),
    [
        ([(9, 9, 0.8)], NORMAL, (0, 0)),
        ([(4, 12, 0.8)], NORMAL, (3, -5)),
        ([(9, 9, 0.2)], NOT_FOUND, (0, 0)),
        ([(9, 9, float('nan'))], NOT_FOUND, (0, 0)),
        ([(9, 9, 0.8), (2, 2, 0.5)], HARD_NEGATIVE, (0, 0)),
        ([(9, 9, 0.4), (2, 2, 0.22)], NORMAL, (0, 0)),
        ([(9, 9, 0.8), (0, 0, 0.7)], HARD_NEGATIVE, (0, 0)),
        ([(0, 0, 0.8), (9, 10, 0.7)], HARD_NEGATIVE, (1, 0)),
        ([(9, 9, 0.8), (9, 14, 0.7)], UNCERTAIN, (0, 0)),
        ([(0, 0, 0.8), (18, 18, 0.7)], UNCERTAIN, (-9, -9)),
        ([(9, 9, 0.8), (9, 10, 0.79)], NORMAL, (0, 0)),  # one blob
    ],
)
def test_what_a_score_map_says(peaks, flag, shift):
    found = Localizer()(scores(*peaks), (3.6, 3.6))
    assert (found.flag, found.shift) == (flag, shift)


def test_a_parabola_finds_its_peak_between_cells():
    rows, columns = torch.meshgrid(
        torch.arange(19.0), torch.arange(17.0), indexing='ij'
    )
    found = 0.9 - 0.002 * (rows - 10.3) ** 2 - 0.003 * (columns - 5.6) ** 2
    x, y = Localizer(subcell=True)(found, (19, 19)).shift
    assert (x, y) == pytest.approx((5.6 - 8, 10.3 - 9), abs=1e-3)
    assert Localizer()(found, (19, 19)).shift == (6 - 8, 10 - 9)


@pytest.mark.parametrize('place', [(0, 0), (18, 18), (0, 9), (9, 18)], ids=str)
def test_peaks_at_the_border_are_those_of_cells(place):
    found = scores((*place, 0.8))
    shift = Localizer(subcell=True)(found, (3.6, 3.6)).shift
    assert shift == (place[1] - 9, place[0] - 9)


def test_flat_and_broken_peaks_stay_in_their_cells():
    flat = torch.full((5, 5), 0.8)
    broken = scores((9, 9, float('nan')))
    for found in (flat, broken):
        exact = Localizer(subcell=True)(found, (3, 3))
        assert exact.shift == Localizer()(found, (3, 3)).shift


def test_a_second_peak_moves_by_half_a_cell_at_most():
    # The slope of the first peak, cut off where its window ends.
    found = scores((0, 0, 0.8), (9, 9, 0.7), (9, 10, 0.71), (9, 11, 0.79))
    found[9, 11] = 0.79
    x, _ = Localizer(subcell=True)(found, (3.6, 3.6)).shift
    assert abs(x - 2) <= 0.5


# ---------------------------------------------------------------------- scales
def test_sizes_stay_between_4_pixels_and_the_frame():
    scales = ScaleSearch((0.5, 1.0, 2.0))
    assert scales.resized((20, 9), 0, (90, 120)) == [10, 4.5]
    assert scales.resized((20, 7), 0, (90, 120)) == [20, 7]
    assert scales.resized((50, 30), 2, (90, 120)) == [100, 60]
    assert scales.resized((70, 30), 2, (90, 120)) == [70, 30]
    assert scales.resized((2, 1), 2, (90, 120)) == [4, 2]  # it may grow


def test_crops_of_all_sizes_have_one_center():
    crops = ScaleSearch((0.5, 1.0)).crops(Crop((30.0, 20.0), 2.0, 96))
    assert crops == [Crop((30.0, 20.0), 1.0, 96), Crop((30.0, 20.0), 2.0, 96)]


@pytest.mark.parametrize(
    ('factors', 'penalty', 'message'),
    [
        ((0.9, 1.1), 1.0, r'factors is \[0.9, 1.1\]; .* 1.0 among'),
        ((1.0, -0.5), 1.0, r'factors is \[1.0, -0.5\]'),
        ((1.0, float('nan')), 1.0, r'factors is \[1.0, nan\]'),
        ((1.0,), 0.0, r'penalty is 0.0'),
        ((1.0,), 1.5, r'penalty is 1.5'),
    ],
)
def test_sizes_that_make_no_sense_are_refused(factors, penalty, message):
    with pytest.raises(ValueError, match=message):
        ScaleSearch(factors, penalty)


# ---------------------------------------------------------------------- memory
def test_weights_of_60_samples():
    memory = SampleMemory(
        torch.zeros(15, 2, 3, 3), torch.zeros(15, 4), 50, 0.25
    )
    memory.features[:15] = -1
    expected = torch.zeros(50)
    expected[:15] = 1 / 15
    previous = None
    for number in range(60):
        rate = 0.02 if number % 7 == 0 else 0.01
        if number < 35:
            slot = 15 + number
        else:
            slot = 15 + min(range(35), key=lambda i: expected[15 + i])
        if previous is None:
            expected = expected / (1 - rate)
            expected[slot] = rate
        else:
            expected[slot] = expected[previous] / (1 - rate)
        expected = expected / sum(expected)
        if sum(expected[:15]) < 0.25:
            expected = expected / (0.25 + sum(expected[15:]))
            expected[:15] = 0.25 / 15
        previous = slot

        found = memory.insert(
            torch.full((2, 3, 3), float(number)), torch.ones(4), rate
        )

        assert found == slot
        torch.testing.assert_close(memory.weights, expected)
    assert memory.num_stored == 50
    assert torch.all(memory.features[:15] == -1)
    assert memory.weights[:15].sum() >= 0.25 - 1e-6
    assert 59.0 in memory.features


def test_a_memory_without_room_is_refused():
    with pytest.raises(ValueError, match='size is 15, but there are 15'):
        SampleMemory(torch.zeros(15, 1, 2, 2), torch.zeros(15, 4), 15, 0.25)


# ------------------------------------------------------------------ refinement
def distance_to(target):
    """An overlap that is highest at one box."""
    return lambda boxes: -((boxes - target) / 40).square().sum(-1)


def test_refinement_climbs():
    target = torch.tensor([30.0, 40, 50, 20])
    start = torch.tensor([36.0, 35, 44, 26])
    generator = torch.Generator().manual_seed(0)
    found = BoxRefinement(box_refine_iter=40)(
        distance_to(target), start, generator
    )
    assert (found - target).abs().max() < 1
    generator = torch.Generator().manual_seed(0)
    stay = BoxRefinement(box_refine_iter=40, box_refine_step_length=0.0)(
        distance_to(target), start, generator
    )
    assert (stay - target).norm() > 5 * (found - target).norm()


def test_elongated_boxes_are_dropped():
    generator = torch.Generator().manual_seed(0)
    flat = torch.tensor([0.0, 0, 100, 2])
    refine = BoxRefinement(num_init_random_boxes=0, box_refine_iter=0)
    assert refine(distance_to(flat), flat, generator) is None
    broken = lambda boxes: boxes.sum(-1) * float('nan')  # noqa: E731
    assert BoxRefinement()(broken, torch.ones(4) * 9, generator) is None
