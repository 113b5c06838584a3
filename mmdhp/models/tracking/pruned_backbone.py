"""A backbone with the widths, and the weights, of a pruned classifier."""

from collections.abc import Mapping
from typing import Any, Optional

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmdhp.registry import MODELS
from mmdhp.surgery.resizing import named_tensors, read_channels, resize

Shapes = dict[str, tuple[int, ...]]


@MODELS.register_module(name='PrunedBackbone')
def build_pruned_backbone(
    architecture: dict,
    channels: Optional[str] = None,
    checkpoint: Optional[str] = None,
    prefix: str = 'backbone.',
) -> nn.Module:
    """Build a backbone that has been pruned as a part of another model.

    The architecture itself is returned, resized. Stages that it does not have
    are ignored, so that a classifier's ResNet-50 serves one without the last
    stage.

    Args:
        architecture (dict): The backbone at its original widths.
        channels (str, optional): Path of an exported ``channels.json``, for
            widths without weights.
        checkpoint (str, optional): Path of an exported ``pruned.pth``, for
            widths and weights.
        prefix (str): Where the backbone is in the pruned model. Defaults to
            ``'backbone.'``.

    Returns:
        nn.Module: The architecture.

    Raises:
        ValueError: If not exactly one file is given, or it does not fit.

    Examples:
        >>> backbone = dict(
        ...     type='mmdhp.PrunedBackbone',
        ...     architecture=dict(type='mmpretrain.ResNet', depth=50),
        ...     checkpoint='work_dirs/resnet50_dhp50/pruned/pruned.pth',
        ... )
    """
    if (channels is None) == (checkpoint is None):
        raise ValueError(
            f'PrunedBackbone: channels is {channels!r} and checkpoint is '
            f'{checkpoint!r}; give one of them, the exported channels.json '
            'for widths or pruned.pth for widths and weights.'
        )
    backbone = ROOT_MODELS.build(architecture)
    if channels is not None:
        found = read_channels(channels)
        shapes = _own_part(found['shapes'], prefix)
        _resize(backbone, shapes, found.get('attributes'), prefix, channels)
        return backbone
    state = _own_part(_state_dict(str(checkpoint)), prefix)
    shapes = {name: tuple(t.shape) for name, t in state.items()}
    _resize(backbone, shapes, None, prefix, str(checkpoint))
    backbone.load_state_dict(state, strict=False)
    _keep_weights(backbone)
    return backbone


def _state_dict(path: str) -> Mapping[str, Tensor]:
    found = torch.load(path, map_location='cpu', weights_only=True)
    return found.get('state_dict', found)


def _own_part(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    count = len(prefix)
    return {k[count:]: v for k, v in values.items() if k.startswith(prefix)}


def _resize(
    backbone: nn.Module,
    shapes: Shapes,
    attributes: Optional[Mapping[str, int]],
    prefix: str,
    path: str,
) -> None:
    """Resize to the shapes of the tensors that the backbone has, in place."""
    own = {name: tuple(t.shape) for name, t in named_tensors(backbone)}
    missing = [name for name in own if name not in shapes]
    if missing and len(missing) == len(own):
        raise ValueError(
            f'PrunedBackbone: {path} has no tensor {prefix}{missing[0]}; set '
            '`prefix` to where the backbone is in the pruned model.'
        )
    fitting = {k: tuple(v) for k, v in shapes.items() if k in own}
    modules = dict(backbone.named_modules())
    kept = {
        key[len(prefix) :]: value
        for key, value in (attributes or {}).items()
        if key.startswith(prefix)
        and key[len(prefix) :].rpartition('.')[0] in modules
    }
    resize(backbone, fitting, kept)


def _keep_weights(backbone: nn.Module) -> None:
    """Let no initialisation of the Runner overwrite the weights, in place."""
    for module in backbone.modules():
        if isinstance(module, BaseModule):
            vars(module).update(init_cfg=None, _is_init=True)
