"""Detectors of MMDetection, built from its own configs, made narrow."""

import pytest
import torch
from mmengine.hub import get_config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from test_real_models import shrunk

from mmdhp.models.model_forward import run_model

pytest.importorskip('mmdet')

WIDTHS = [16, 32, 64, 128]  # of a ResNet-18 with 16 channels at its start


def resnet(cfg):
    cfg.backbone.update(depth=18, base_channels=16, init_cfg=None)
    cfg.neck.update(in_channels=WIDTHS, out_channels=32)


def retinanet(cfg):
    resnet(cfg)
    cfg.bbox_head.update(in_channels=32, feat_channels=40, stacked_convs=2)


def fcos(cfg):
    resnet(cfg)
    cfg.bbox_head.update(in_channels=32, feat_channels=64, stacked_convs=2)


def faster_rcnn(cfg):
    resnet(cfg)
    cfg.rpn_head.update(in_channels=32, feat_channels=40)
    cfg.roi_head.bbox_roi_extractor.out_channels = 32
    cfg.roi_head.bbox_head.update(in_channels=32, fc_out_channels=72)
    cfg.test_cfg.rpn.max_per_img = 50


def csp(cfg):
    cfg.backbone.update(widen_factor=0.125, deepen_factor=0.33, init_cfg=None)
    cfg.neck.update(in_channels=[32, 64, 128], out_channels=32)
    cfg.bbox_head.update(in_channels=32, feat_channels=40)


CASES = {
    'retinanet/retinanet_r18_fpn_1x_coco': (retinanet, 18),
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco': (fcos, 18),
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco': (faster_rcnn, 15),
    'yolox/yolox_s_8xb8-300e_coco': (csp, 67),
    'rtmdet/rtmdet_tiny_8xb32-300e_coco': (csp, 55),
}


def build(name):
    """A detector of an upstream config, narrower."""
    cfg = get_config(f'mmdet::{name}.py').model
    CASES[name][0](cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        init_default_scope('mmdet')
        return MODELS.build(cfg)


def smallest(graph):
    """Share of the MACs that is left with one channel per group."""
    keep = torch.zeros(graph.num_units, dtype=torch.bool)
    keep[[group.start for group in graph.groups]] = True
    return float(graph.macs(keep) / graph.macs())


@pytest.mark.parametrize('name', CASES)
def test_detector(name):
    model, graph = shrunk(build(name), (2, 3, 64, 96), run_model)

    assert len(graph.groups) >= CASES[name][1]
    assert smallest(graph) < 0.05
    assert not graph.unused
    if 'rcnn' not in name:
        codes = {group.code for group in graph.frozen}
        assert codes <= {'output', 'fixed-width', 'single'}
    with torch.no_grad():
        run_model(model.train(), torch.rand(2, 3, 64, 64))


def test_every_stage_and_head_of_a_two_stage_detector_is_traced():
    name = 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco'
    _, graph = shrunk(build(name), (1, 3, 64, 64), run_model)

    groups = {group.name for group in graph.groups}
    assert 'roi_head.bbox_head.shared_fcs.0' in groups
    assert 'rpn_head.rpn_conv' in groups
    outputs = {group.name for group in graph.frozen if group.code == 'output'}
    assert outputs == {
        'rpn_head.rpn_cls',
        'rpn_head.rpn_reg',
        'roi_head.bbox_head.fc_cls',
        'roi_head.bbox_head.fc_reg',
    }
