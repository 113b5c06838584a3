"""The optimiser of the filter against its formulas, in double precision."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from mmdhp.models.tracking import DiMPFilterOptimizer
from mmdhp.models.tracking.filter_maps import (
    apply_filter,
    distance_map,
    filter_adjoint,
    gaussian_label,
    radial_map,
    score_size,
    target_cells,
)

GOLDEN = dict(
    num_dist_bins=10,
    bin_displacement=0.5,
    gauss_sigma=0.9,
    mask_init_factor=3.0,
    init_step_length=0.9,
    init_filter_regular=0.1,
)


def golden_case():
    h, w = torch.arange(6.0).double(), torch.arange(6.0).double()
    c, i = torch.arange(4.0).double(), torch.arange(2.0).double()
    features = torch.sin(
        0.1 * (h[:, None] + 1) * (c[:, None, None] + 1)
        + 0.2 * w
        + 0.3 * i[:, None, None, None]
    )
    features = features[:, None] / 4  # (2, 1, 4, 6, 6)
    k = torch.arange(4.0).double()
    filters = torch.cos(0.3 * c[:, None, None] + 0.5 * k[:, None] + 0.7 * k)[
        None
    ]
    boxes = torch.tensor([[[30, 26, 24, 32]], [[44, 40, 30, 20]]]).double()
    return filters / 10, features, boxes


def optimizer(**cfg):
    return DiMPFilterOptimizer(**cfg).double()


def random_case(kernel=4):
    torch.manual_seed(3)
    features = torch.randn(3, 2, 5, 6, 7).double()
    filters = torch.randn(2, 5, kernel, kernel).double() / 4
    boxes = torch.rand(3, 2, 4).double() * 40 + 20
    return filters, features, boxes


def test_iterates_of_a_published_size_case():
    filters, features, boxes = golden_case()

    iterates = optimizer(**GOLDEN)(filters, features, boxes, num_iters=3)

    expected = [
        (-2.3200325324, 0.5627802510, 0.1000000000, -0.0210795799),
        (1.4002919861, 0.4633661103, 0.1275382166, 0.0016185091),
        (0.7085845565, 0.3145751175, 0.0904808492, 0.0104375234),
        (1.5495333793, 0.3012800854, 0.0805736326, 0.0211888630),
    ]
    for w, row in zip(iterates, expected):
        w = w.detach()
        found = (w.sum(), w.norm(), w[0, 0, 0, 0], w[0, 3, 3, 3])
        # The coefficients were rounded to single precision.
        assert [float(v) for v in found] == pytest.approx(row, abs=1e-6)


@pytest.mark.parametrize(
    ('weights', 'count', 'losses'),
    [
        (None, 3, [8.8495502, 3.0580393, 2.2392549, 1.7850456]),
        ([[0.7], [0.3]], 2, [9.4829235, 3.2491383, 2.3126980]),
    ],
    ids=['uniform', 'weighted'],
)
def test_losses_of_the_iterates(weights, count, losses):
    filters, features, boxes = golden_case()
    module = optimizer(**GOLDEN)
    if weights is not None:
        weights = torch.tensor(weights).double()

    iterates = module(
        filters, features, boxes, sample_weight=weights, num_iters=count
    )

    residual = module.residual(boxes, (7, 7), 4, weights)
    found = [module.losses(w, features, residual).item() for w in iterates]
    assert found == pytest.approx(losses, abs=2e-6)


@pytest.mark.parametrize('kernel', [3, 4])
def test_correlation_and_its_adjoint(kernel):
    filters, features, _ = random_case(kernel)
    expected = torch.stack(
        [
            torch.cat(
                [
                    F.conv2d(f[None], w[None], padding=kernel // 2)[:, 0]
                    for f, w in zip(image, filters)
                ]
            )
            for image in features
        ]
    )

    scores = apply_filter(features, filters)

    torch.testing.assert_close(scores, expected)
    size = (score_size(6, kernel), score_size(7, kernel))
    assert tuple(scores.shape) == (3, 2, *size)
    maps = torch.randn_like(scores)
    back = filter_adjoint(features, maps, kernel)
    torch.testing.assert_close((scores * maps).sum(), (back * filters).sum())


def naive_loss(module, filters, features, boxes, weight):
    """The loss of every sequence, cell by cell as in the paper."""
    images, sequences = boxes.shape[:2]
    count, spacing = len(module.label_coef), module.bin_displacement
    losses = []
    for s in range(sequences):
        total = module.filter_reg[0] ** 2 * (filters[s] ** 2).sum()
        for i in range(images):
            scores = F.conv2d(
                features[i, s][None], filters[s][None], padding=2
            )
            x, y, w, h = boxes[i, s].tolist()
            for ty in range(scores.shape[2]):
                for tx in range(scores.shape[3]):
                    d = math.hypot(
                        ty - (y + h / 2) / 16, tx - (x + w / 2) / 16
                    )
                    basis = [
                        max(0, 1 - abs(d / spacing - k)) for k in range(count)
                    ]
                    basis[-1] = min(max(1 + d / spacing - (count - 1), 0), 1)
                    basis = torch.tensor(basis).double()
                    label = basis @ module.label_coef
                    m = (basis @ module.mask_coef).sigmoid()
                    v = basis @ module.weight_coef
                    score = scores[0, 0, ty, tx]
                    hinge = (1 - m) / 2 * score.abs() + (1 + m) / 2 * score
                    total = total + weight[i, s] * (v * (hinge - label)) ** 2
        losses.append(total)
    return torch.stack(losses)


def test_a_step_goes_against_the_gradient_of_the_true_loss():
    filters, features, boxes = random_case()
    module = optimizer(num_dist_bins=12, bin_displacement=0.4)
    weight = torch.rand(3, 2).double()
    filters.requires_grad_()
    losses = naive_loss(module, filters, features, boxes, weight)
    (gradient,) = torch.autograd.grad(losses.sum(), filters)

    residual = module.residual(boxes, (7, 8), 4, weight)
    found = module.losses(filters, features, residual)
    after = module.step(filters, features, residual)

    torch.testing.assert_close(found, losses)
    change = (filters - after).flatten(1)
    direction = F.cosine_similarity(change, gradient.flatten(1))
    torch.testing.assert_close(direction, torch.ones(2).double())


def test_the_step_length_minimises_the_quadratic_model():
    filters, features, boxes = random_case()
    module = optimizer(init_step_length=1.0)
    residual = module.residual(boxes, (7, 8), 4)

    def values(w):
        """Residuals and regularisation of one filter as one vector."""
        data = residual(apply_filter(features, w))
        reg = module.filter_reg.abs()
        return torch.cat([data[:, 0].flatten(), (reg * w[0]).flatten()])

    after = module.step(filters, features, residual).detach()

    direction = after - filters
    r, j = torch.func.jvp(values, (filters,), (direction,))
    # d/dα ‖r + α j‖² = 0 at α = 1
    torch.testing.assert_close(-(r @ j), j @ j)


def test_every_parameter_has_a_gradient_through_the_iterations():
    filters, features, boxes = random_case()
    module = optimizer(num_dist_bins=6, bin_displacement=0.8, num_iters=2)
    names = [name for name, _ in module.named_parameters()]
    values = [p.detach().clone() for p in module.parameters()]
    for value in values:
        value.requires_grad_()

    def run(filters, *values):
        return torch.func.functional_call(
            module, dict(zip(names, values)), (filters, features, boxes)
        )[-1]

    assert gradcheck(run, (filters.requires_grad_(), *values))


def test_the_loss_falls_over_the_iterations():
    filters, features, boxes = random_case()
    module = optimizer()
    residual = module.residual(boxes, (7, 8), 4)
    losses = [
        module.losses(w, features, residual).sum()
        for w in module(filters, features, boxes)
    ]
    assert len(losses) == 6
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.5 * losses[0]


def test_a_zero_filter_and_no_features_stay_finite():
    _, features, boxes = random_case()
    zeros = torch.zeros(2, 5, 4, 4).double()
    for maps in (features, torch.zeros_like(features)):
        assert all(w.isfinite().all() for w in optimizer()(zeros, maps, boxes))


def test_initial_functions_of_distance():
    module = optimizer(**GOLDEN).requires_grad_(False)
    mask = module.mask_coef.sigmoid()
    expected = [0.947454, 0.937932, 0.907609, 0.800009, 0.5]
    assert mask[:5].tolist() == pytest.approx(expected, abs=1e-6)
    assert module.label_coef[0] == pytest.approx(1.0, abs=1e-4)
    assert module.label_coef[-1] == 0
    assert module.weight_coef.unique().tolist() == [1.0]
    assert module.filter_reg.tolist() == pytest.approx([0.1])
    assert module.log_step_length.exp().tolist() == pytest.approx([0.9])


def test_interpolation_saturates_behind_the_last_knot():
    coefficients = torch.tensor([1.0, 3.0, 7.0])
    steps = torch.tensor([0.0, 0.25, 1.0, 1.5, 2.0, 9.0])
    assert radial_map(coefficients, steps).tolist() == [1, 1.5, 3, 5, 7, 7]


def test_labels_peak_at_the_target():
    box = torch.tensor([100.0, 60.0, 40.0, 24.0])
    assert target_cells(box, 16, 4).tolist() == [7.5, 4.5]
    assert target_cells(box, 16, 3).tolist() == [7.0, 4.0]
    cells = torch.tensor([7.0, 4.5])
    assert distance_map(cells, (11, 13))[4, 7] == 0.5
    label = gaussian_label(cells, (11, 13), 0.9)
    assert label.shape == (11, 13)
    assert (
        label[5, 7]
        == label.max()
        == pytest.approx(math.exp(-0.25 / (2 * 0.81)))
    )


def test_one_knot_is_refused():
    with pytest.raises(ValueError, match='num_dist_bins is 1, but'):
        DiMPFilterOptimizer(num_dist_bins=1)
