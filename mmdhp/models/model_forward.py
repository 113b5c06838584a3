"""One forward pass that reaches every layer, for any OpenMMLab model.

The channel graph and the proof before the cut need the raw outputs of all
heads, as a function of images alone. Most models give them when they are
called. A two-stage detector would select proposals by their values in
between; here it gets made-up ones.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from mmdhp.graph import Inputs, call_model

DEFAULT_PROPOSALS = 1000


def run_model(model: nn.Module, inputs: Inputs) -> Any:
    """Run a model once, as ``forward`` of :func:`mmdhp.trace` and the like.

    Args:
        model (nn.Module): Any model. MMDetection's two-stage detectors and
            its transformers are known by their attributes.
        inputs (Tensor | tuple | dict): Images, shape ``(n, 3, h, w)``, or
            whatever else the model takes.

    Returns:
        Any: Raw outputs.
    """
    if isinstance(inputs, Tensor):
        if is_two_stage(model):
            return _run_two_stage(model, inputs)
        if hasattr(model, 'pre_transformer'):  # reads sizes of images
            return model(inputs, made_up_samples(inputs))
    return call_model(model, inputs)


def is_two_stage(model: Any) -> bool:
    """Whether a model pools features of proposals in a second stage."""
    return (
        getattr(model, 'roi_head', None) is not None
        and hasattr(model, 'extract_feat')
        and getattr(model, 'rpn_head', None) is not None
    )


def _run_two_stage(model: Any, images: Tensor) -> list[Any]:
    """Features, then every head on its own."""
    features = model.extract_feat(images)
    boxes = made_up_boxes(images, proposals_per_image(model))
    proposals = [InstanceData(bboxes=boxes) for _ in images]
    samples = made_up_samples(images)
    with _visible_pooling(model):
        outputs = [
            model.rpn_head(features),
            model.roi_head.forward(features, proposals, samples),
        ]
    if getattr(model, 'semantic_head', None) is not None:
        outputs.append(model.semantic_head(features))
    return outputs


def proposals_per_image(model: Any) -> int:
    """Proposals that the second stage gets at inference, at most."""
    rpn = (getattr(model, 'test_cfg', None) or {}).get('rpn') or {}
    return int(rpn.get('max_per_img', DEFAULT_PROPOSALS))


def made_up_samples(images: Tensor) -> list[BaseDataElement]:
    """What a detector is told about images that nobody has resized."""
    size = tuple(images.shape[2:])
    shapes = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    facts = {**dict.fromkeys(shapes, size), 'scale_factor': (1.0, 1.0)}
    return [BaseDataElement(metainfo={**facts, 'flip': False}) for _ in images]


def made_up_boxes(images: Tensor, count: int) -> Tensor:
    """Boxes of all sizes around points of an image, the same at each call.

    Small and large ones, so that every level of a feature pyramid gets some;
    they may reach over the border.

    Args:
        images (Tensor): Shape ``(n, c, h, w)``.
        count (int): Number of boxes.

    Returns:
        Tensor: Corners ``x1, y1, x2, y2`` in pixels, shape ``(count, 4)``.
    """
    generator = torch.Generator().manual_seed(0)
    centers = torch.rand(count, 2, generator=generator)
    centers *= torch.tensor([images.shape[3], images.shape[2]])
    sides = 2 ** torch.linspace(3, 10, count)[:, None]
    boxes = torch.cat([centers - sides / 2, centers + sides / 2], 1)
    return boxes.to(images)


@contextlib.contextmanager
def _visible_pooling(model: nn.Module) -> Iterator[None]:
    """Let RoIAlign use torchvision's operator, which a trace can see.

    mmcv's own, where it is compiled, bypasses PyTorch's dispatcher.
    """
    layers: list[Any] = [
        module
        for module in model.modules()
        if getattr(module, 'use_torchvision', None) is False
        and getattr(module, 'pool_mode', None) == 'avg'
    ]
    for layer in layers:
        layer.use_torchvision = True
    try:
        yield
    finally:
        for layer in layers:
            layer.use_torchvision = False
