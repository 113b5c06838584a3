"""Raw outputs of any model, without a choice of proposals."""

import pytest
import torch
from torch import nn

from mmdhp.models.model_forward import (
    is_two_stage,
    made_up_boxes,
    made_up_samples,
    run_model,
)

IMAGES = torch.rand(2, 3, 20, 34)


class Pool(nn.Module):
    """As mmcv's RoIAlign: has torchvision's operator on request."""

    def __init__(self, pool_mode='avg'):
        super().__init__()
        self.pool_mode = pool_mode
        self.use_torchvision = False
        self.seen = None

    def forward(self, features):
        self.seen = self.use_torchvision
        return features


class RoIHead(nn.Module):
    def __init__(self, fails=False):
        super().__init__()
        self.layers = nn.ModuleList([Pool(), Pool('max')])
        self.fails = fails

    def forward(self, features, proposals, samples):
        if self.fails:
            raise ValueError('no such level')
        for layer in self.layers:
            layer(features)
        return [p.bboxes for p in proposals], [s.img_shape for s in samples]


class TwoStage(nn.Module):
    """What the engine knows two-stage detectors by."""

    def __init__(self, test_cfg=None, fails=False):
        super().__init__()
        self.rpn_head = nn.Conv2d(3, 5, 1)
        self.roi_head = RoIHead(fails)
        self.test_cfg = test_cfg

    def extract_feat(self, images):
        return 2 * images

    def forward(self, images):
        raise AssertionError('would choose proposals by value')


class Transformer(nn.Module):
    def pre_transformer(self):
        """Reads sizes of images."""

    def forward(self, images, samples):
        return images, [sample.batch_input_shape for sample in samples]


def test_a_two_stage_detector_gets_proposals_that_no_value_chose():
    model = TwoStage({'rpn': {'max_per_img': 7}})

    scores, (boxes, shapes) = run_model(model, IMAGES)

    assert torch.equal(scores, model.rpn_head(2 * IMAGES))
    assert shapes == [(20, 34)] * 2
    assert [b.shape for b in boxes] == [(7, 4)] * 2


def test_without_a_config_there_are_as_many_as_usual():
    _, (boxes, _) = run_model(TwoStage(), IMAGES)
    assert len(boxes[0]) == 1000


def test_pooling_is_visible_only_meanwhile():
    model = TwoStage()
    average, maximum = model.roi_head.layers
    run_model(model, IMAGES)
    assert (average.seen, average.use_torchvision) == (True, False)
    assert (maximum.seen, maximum.use_torchvision) == (False, False)


def test_pooling_is_restored_after_a_failure():
    model = TwoStage(fails=True)
    with pytest.raises(ValueError, match='no such level'):
        run_model(model, IMAGES)
    assert not model.roi_head.layers[0].use_torchvision


def test_the_boxes_are_around_the_image_and_never_change():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    boxes = made_up_boxes(IMAGES.double(), 300)

    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(boxes, made_up_boxes(IMAGES.double(), 300))
    assert boxes.dtype == torch.double
    x1, y1, x2, y2 = boxes.unbind(1)
    sides = x2 - x1
    assert torch.allclose(sides, y2 - y1)
    assert torch.allclose(sides[[0, -1]], torch.tensor([8.0, 1024.0]).double())
    centers = (x1 + x2) / 2, (y1 + y2) / 2
    for center, length in zip(centers, (34, 20)):
        assert 0 <= center.min() < 1
        assert length - 1 < center.max() <= length


def test_a_transformer_learns_the_sizes_of_the_images():
    _, shapes = run_model(Transformer(), IMAGES)
    assert shapes == [(20, 34)] * 2
    assert made_up_samples(IMAGES)[0].scale_factor == (1.0, 1.0)


@pytest.mark.parametrize(
    'inputs', [IMAGES, (IMAGES,), {'input': IMAGES}], ids=['one', 'all', 'key']
)
def test_any_other_model_is_called(inputs):
    model = nn.Conv2d(3, 4, 1)
    assert not is_two_stage(model)
    assert torch.equal(run_model(model, inputs), model(IMAGES))
