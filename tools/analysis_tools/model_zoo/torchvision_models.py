"""The networks that torchvision lists."""

import functools
import importlib
import inspect
from collections.abc import Iterator
from typing import Any, Callable, Optional

import torch
from torch import Tensor

from .entry import BATCH, Entry, Forward, Shapes, images

_SIZES = (64, 75, 224, 256, 384, 320)


def torchvision_entries() -> Iterator[Entry]:
    """Everything that ``torchvision.models`` lists, quantised copies aside."""
    models = importlib.import_module('torchvision.models')
    for name in models.list_models():
        if name.startswith('quantized_'):
            continue
        module = models.get_model_builder(name).__module__
        _, _, place = module.partition('torchvision.models.')
        area, _, kind = place.rpartition('.')
        yield Entry(
            'torchvision',
            kind,
            name,
            _torchvision_builder(models, name),
            _torchvision_shapes(area),
            _torchvision_forward(area, kind),
        )


def _torchvision_builder(models: Any, name: str) -> Callable:
    kind = inspect.signature(models.get_model_builder(name)).parameters
    weights = [key for key in kind if key.startswith('weights')]
    return functools.partial(models.get_model, name, **dict.fromkeys(weights))


def _torchvision_shapes(area: str) -> list[Shapes]:
    if area == 'video':
        return [
            ((BATCH, 3, frames, size, size),)
            for size in (64, 112, 224)
            for frames in (8, 16)
        ]
    if area == 'optical_flow':
        return [shape * 2 for shape in images(128, 256)]
    return images(*_SIZES)


def _torchvision_forward(area: str, kind: str) -> Optional[Forward]:
    if area != 'detection':
        return None
    return two_stage_forward if 'rcnn' in kind else one_stage_forward


def one_stage_forward(model: Any, inputs: Any) -> Any:
    """Backbone and head, without anchors, scores and suppression."""
    features = model.backbone(*inputs)
    if isinstance(features, Tensor):
        features = {'0': features}
    return model.head(list(features.values()))


def two_stage_forward(model: Any, inputs: Any) -> Any:
    """Backbone, proposal head, and all region heads on two fixed boxes."""
    (batch,) = inputs
    features = model.backbone(batch)
    height, width = batch.shape[-2:]
    box = torch.tensor(
        [[1.0, 2.0, width - 9.0, height - 5.0], [5.0, 3.0, 33.0, 40.0]]
    )
    boxes, sizes = [box] * len(batch), [(height, width)] * len(batch)
    outputs = [model.rpn.head(list(features.values()))]
    heads = model.roi_heads
    pooled = heads.box_head(heads.box_roi_pool(features, boxes, sizes))
    outputs.append(heads.box_predictor(pooled))
    for task in ('mask', 'keypoint'):
        pool = getattr(heads, f'{task}_roi_pool', None)
        if pool is not None:
            pooled = pool(features, boxes, sizes)
            pooled = getattr(heads, f'{task}_head')(pooled)
            outputs.append(getattr(heads, f'{task}_predictor')(pooled))
    return outputs
