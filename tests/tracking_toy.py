"""A small tracker for tests."""

import copy

import torch
from mmengine.registry import MODELS


def small_backbone():
    return dict(
        type='mmpretrain.ResNet',
        depth=18,
        stem_channels=12,
        base_channels=12,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(1, 2),
    )


SMALL = dict(
    type='mmdhp.DiMP',
    data_preprocessor=dict(type='mmdhp.TrackDataPreprocessor'),
    backbone=small_backbone(),
    cls_head=dict(type='mmdhp.DiMPClsHead', out_dim=20),
    bbox_head=dict(
        type='mmdhp.IoUNetHead', pred_in_dim=(14, 18), pred_inter_dim=(10, 22)
    ),
    tracker=dict(
        type='mmdhp.OnlineDiMP', img_sample_size=96, search_scale_factor=4.0
    ),
)


def build_small(**change):
    torch.manual_seed(0)
    model = MODELS.build({**copy.deepcopy(SMALL), **change})
    model.init_weights()
    return model


def with_values(model):
    """Give norms statistics and scales as after a training."""
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    return model
