"""Precise RoI pooling against published numbers and dense integration."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mmdhp.models.tracking import PrRoIPool, prroi_pool
from mmdhp.models.tracking.prroi_pool import hat_integral


def naive(features, box, size, scale, points=60):
    """Mean of bilinear interpolation over a dense grid in every bin."""
    channels, height, width = features.shape
    x1, y1, x2, y2 = (scale * float(v) for v in box)
    rows, columns = size
    middle = (torch.arange(points, dtype=torch.double) + 0.5) / points
    out = features.new_zeros(channels, rows, columns)
    for p in range(rows):
        for q in range(columns):
            ys = y1 + (y2 - y1) * (p + middle) / rows
            xs = x1 + (x2 - x1) * (q + middle) / columns
            for j in range(height):
                for i in range(width):
                    hat = (1 - (ys - j).abs()).clamp(min=0).mean()
                    hat = hat * (1 - (xs - i).abs()).clamp(min=0).mean()
                    out[:, p, q] += features[:, j, i] * hat
    return out


@pytest.mark.parametrize(
    ('features', 'side', 'out', 'by_feature', 'by_box'),
    [
        (
            [[1, 2], [3, 4]],
            1,
            [1.75, 2.25, 2.75, 3.25],
            [[1, 1], [1, 1]],
            [2, 4, 2, 4],
        ),
        (
            [[4, 3], [2, 1]],
            1,
            [3.25, 2.75, 2.25, 1.75],
            [[1, 1], [1, 1]],
            [-2, -4, -2, -4],
        ),
        (
            [[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]],
            3,
            [3.75, 6.916667, 10.083333, 13.25],
            [
                [1 / 9, 2 / 9, 2 / 9, 1 / 9],
                [2 / 9, 4 / 9, 4 / 9, 2 / 9],
                [2 / 9, 4 / 9, 4 / 9, 2 / 9],
                [1 / 9, 2 / 9, 2 / 9, 1 / 9],
            ],
            [10 / 3, 20 / 3, 10 / 3, 20 / 3],
        ),
    ],
)
def test_published_vectors(features, side, out, by_feature, by_box):
    maps = torch.tensor([[features]], dtype=torch.float, requires_grad=True)
    rois = torch.tensor([[0.0, 0.0, 0.0, side, side]], requires_grad=True)

    pooled = PrRoIPool(2)(maps, rois)
    pooled.sum().backward()

    torch.testing.assert_close(
        pooled.flatten(), torch.tensor(out), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(
        maps.grad[0, 0], torch.tensor(by_feature).float()
    )
    torch.testing.assert_close(rois.grad[0, 1:], torch.tensor(by_box).float())
    assert rois.grad[0, 0] == 0


BOXES = {
    'inside': [3.2, 2.7, 11.1, 9.4],
    'over two borders': [-4.3, -3.1, 9.7, 6.2],
    'outside of the last site': [8.3, 5.1, 17.9, 13.7],
    'thin': [4.3, 3.1, 4.35, 9.9],
    'on sites': [2.0, 4.0, 8.0, 6.0],
}


@pytest.mark.parametrize('box', BOXES.values(), ids=BOXES)
def test_it_equals_dense_integration(box):
    features = torch.randn(3, 5, 7, dtype=torch.double)
    boxes = torch.tensor([[box]], dtype=torch.double)

    found = prroi_pool(features[None], boxes, (2, 3), 0.5)[0, 0]

    expected = naive(features, box, (2, 3), 0.5)
    # The midpoint rule with 60 points per bin is off by up to 2e-3.
    torch.testing.assert_close(found, expected, rtol=0, atol=4e-3)


@pytest.mark.parametrize('box', BOXES.values(), ids=BOXES)
def test_gradients(box):
    features = torch.randn(2, 3, 5, 7, dtype=torch.double, requires_grad=True)
    boxes = torch.tensor([[box, [1.1, 0.7, 5.2, 6.3]]] * 2).double()
    boxes.requires_grad_()
    assert gradcheck(
        lambda f, b: prroi_pool(f, b, (2, 3), 0.5), (features, boxes)
    )


def test_second_derivatives():
    features = torch.randn(1, 2, 4, 5, dtype=torch.double, requires_grad=True)
    boxes = torch.tensor([[[0.3, 0.4, 2.9, 2.45]]]).double().requires_grad_()
    assert gradgradcheck(
        lambda f, b: prroi_pool(f, b, (2, 3), 1.0), (features, boxes)
    )


def test_the_hat_is_the_derivative_of_its_integral_at_integers():
    u = torch.tensor([-1.0, 0.0, 1.0, 0.5], requires_grad=True)
    hat_integral(u).sum().backward()
    assert u.grad.tolist() == [0.0, 1.0, 0.0, 0.5]


def test_mean_pooling_is_a_special_case():
    features = torch.randn(2, 3, 6, 8)
    boxes = torch.tensor([[[0.0, 0.0, 7.0, 5.0]]]).repeat(2, 1, 1)

    found = prroi_pool(features, boxes, (5, 7), 1.0)[:, 0]

    expected = torch.nn.functional.avg_pool2d(features, 2, 1)
    torch.testing.assert_close(found, expected)


def test_dense_roi_align_converges_to_it_and_a_coarse_one_does_not():
    roi_align = pytest.importorskip('torchvision').ops.roi_align
    features = torch.randn(1, 4, 9, 11)
    rois = torch.tensor([[0.0, 1.3, 2.2, 8.7, 6.9]])
    expected = PrRoIPool((2, 3))(features, rois)

    def gap(ratio):
        found = roi_align(features, rois, (2, 3), 1.0, ratio, aligned=False)
        return float((found - expected).abs().max())

    assert gap(64) < 2e-3
    assert gap(1) > 5e-2


@pytest.mark.parametrize(
    'box', [[3.0, 2.0, 3.0, 5.0], [5.0, 4.0, 2.0, 6.0], [1.0, 3.0, 4.0, 2.0]]
)
def test_boxes_without_area_give_zeros_and_no_gradient(box):
    features = torch.randn(1, 2, 6, 7)
    boxes = torch.tensor([[box]], requires_grad=True)

    out = prroi_pool(features, boxes, (2, 3), 1.0)
    out.sum().backward()

    assert torch.equal(out, torch.zeros_like(out))
    assert torch.equal(boxes.grad, torch.zeros_like(boxes))


def test_a_constant_stays_and_fades_over_the_border():
    ones = torch.ones(1, 1, 6, 8)
    boxes = torch.tensor(
        [[[1.0, 1.0, 5.0, 4.0], [5.0, 1.0, 9.0, 4.0], [7.0, 1.0, 11.0, 4.0]]]
    )

    inside, half, outer = prroi_pool(ones, boxes, (1, 1), 1.0).flatten()

    assert inside == 1
    assert 0 < outer < half < 1


def test_rois_of_any_image_equal_the_grouped_form():
    features = torch.randn(3, 4, 6, 7)
    boxes = torch.rand(3, 5, 4) * 3
    boxes[..., 2:] += 3.5
    pool = PrRoIPool((2, 3), 0.8)
    image = torch.arange(3.0)[:, None].expand(3, 5).reshape(-1, 1)
    rois = torch.cat([image, boxes.flatten(0, 1)], 1)
    order = torch.randperm(15)

    found = pool(features, rois[order])

    expected = pool.grouped(features, boxes).flatten(0, 1)[order]
    torch.testing.assert_close(found, expected)


def test_gradient_ascent_moves_a_box_to_a_blob():
    y, x = torch.meshgrid(
        torch.arange(12.0), torch.arange(14.0), indexing='ij'
    )
    blob = torch.exp(-((x - 8) ** 2 + (y - 5) ** 2) / 6)[None, None]
    center = torch.tensor([5.0, 7.0])
    for _ in range(60):
        center.requires_grad_()
        box = torch.cat([center - 2, center + 2])[None, None]
        (gradient,) = torch.autograd.grad(
            prroi_pool(blob, box, (2, 3), 1.0).sum(), center
        )
        center = (center + 0.5 * gradient).detach()
    assert (center - torch.tensor([8.0, 5.0])).norm() < 1e-2


def test_it_leaves_autocast():
    pool = PrRoIPool(2)
    features = torch.randn(1, 2, 5, 5).bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = pool(features, torch.tensor([[0.0, 0.3, 0.4, 3.2, 3.9]]))
    assert out.dtype == torch.float32


@pytest.mark.parametrize(
    ('rois', 'message'),
    [
        (torch.zeros(2, 4), r'rois of shape \(2, 4\); give \(R, 5\)'),
        (
            torch.tensor([[3.0, 0, 0, 1, 1]]),
            'images 3 to 3, but features of 2 images',
        ),
    ],
)
def test_wrong_rois_are_refused(rois, message):
    with pytest.raises(ValueError, match=message):
        PrRoIPool(2)(torch.zeros(2, 1, 4, 4), rois)
