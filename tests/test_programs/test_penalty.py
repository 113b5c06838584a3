"""The cost term in shares of the total, against the paper's in MACs."""

import math

import pytest
import torch

import mmdhp
from mmdhp.programs import log_penalty, ungated_macs

TOTAL = 126_561_280


@pytest.mark.parametrize('unit', [1.0, 1e6, TOTAL])
@pytest.mark.parametrize('ratio', [0.2, 0.499, 0.5, 0.503, 0.9])
def test_it_is_the_formula_of_the_paper_in_any_unit(unit, ratio):
    expected = math.log(abs(ratio * TOTAL - 0.5 * TOTAL) / unit + 1)
    value, slope = log_penalty(ratio, 0.5, unit / TOTAL)
    assert value == pytest.approx(expected, abs=1e-12)
    if ratio == 0.5:
        assert slope == 0
        return
    assert math.copysign(1, slope) == math.copysign(1, ratio - 0.5)
    step = 1e-9
    rise = log_penalty(ratio + step, 0.5, unit / TOTAL)[0] - value
    assert slope == pytest.approx(rise / step, rel=1e-4)


def test_the_slope_is_bounded_by_the_inverse_of_epsilon():
    assert log_penalty(0.5 + 1e-9, 0.5, 1.0)[1] == pytest.approx(1)
    assert log_penalty(0.5 + 1e-3, 0.5, 1 / TOTAL)[1] > 900


@pytest.mark.parametrize(
    ('name', 'gated'),
    [('resnet34', 0.962), ('resnet50', 0.883), ('mobilenet_v2', 0.860)],
)
def test_gated_share_of_known_networks(name, gated):
    """What the paper's inner gates touch, in MACs at 224 x 224."""
    models = pytest.importorskip('torchvision.models')
    from mmdhp.programs import inner_groups

    model = getattr(models, name)()
    image = torch.zeros(2, 3, 224, 224)
    graph = mmdhp.trace(model, image)
    inner = inner_groups(model, graph)
    outer = [g.name for g in graph.groups if g.name not in inner]
    graph = mmdhp.trace(model, image, exclude=outer)
    share = 1 - ungated_macs(graph, ('weight',)) / graph.macs()
    assert share == pytest.approx(gated, abs=5e-4)
