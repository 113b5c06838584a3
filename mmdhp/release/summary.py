"""What an exported model says about itself: ``channels.json`` and ``meta``."""

from collections.abc import Mapping
from typing import Any, Optional

import mmengine
import torch
from torch import Tensor, nn

from mmdhp.costs import Memory
from mmdhp.methods import Pruner
from mmdhp.surgery import resizing
from mmdhp.version import __version__


def checkpoint_meta(
    pruner: Pruner, metainfo: Mapping[str, Any]
) -> dict[str, Any]:
    """``meta`` of ``pruned.pth``.

    Args:
        pruner (Pruner): The method that pruned.
        metainfo (Mapping): Of the training data; its classes are kept.
    """
    meta: dict[str, Any] = {
        'format_version': resizing.FORMAT_VERSION,
        'method': pruner.name,
        'mmdhp_version': __version__,
    }
    classes = metainfo.get('classes')
    if classes is not None:
        meta['dataset_meta'] = {'classes': [str(name) for name in classes]}
    return meta


def channel_summary(
    pruner: Pruner,
    keep: Tensor,
    model: nn.Module,
    metrics: Mapping[str, float],
    latency: Optional[Mapping[str, Any]] = None,
) -> dict[str, Any]:
    """Content of ``channels.json``.

    Args:
        pruner (Pruner): The method that pruned.
        keep (Tensor): The mask, shape ``(U, )``.
        model (nn.Module): The pruned model.
        metrics (Mapping[str, float]): Last validation metrics.
        latency (Mapping, optional): Of :func:`latency_summary`, if it is a
            target. Defaults to None.
    """
    graph, base = pruner.graph, pruner.baseline
    memory = Memory(graph, base)

    def compare(pruned: int, original: int) -> dict[str, Any]:
        return {
            'original': original,
            'pruned': pruned,
            'ratio': pruned / original,
        }

    summary: dict[str, Any] = {
        'format_version': resizing.FORMAT_VERSION,
        'method': pruner.name,
        'target': pruner.target.as_dict(),
        'macs': compare(
            int(graph.macs(keep, pruner.kinds)),
            int(base.macs(kinds=pruner.kinds)),
        ),
        'macs_kinds': list(pruner.kinds),
        'params': compare(int(graph.params(keep)), int(base.params())),
        'memory': compare(memory.value(keep), int(memory.full)),
        'input_shape': list(pruner.input_shape),
        'metrics': plain_numbers(metrics),
        'versions': {
            'mmdhp': __version__,
            'mmengine': mmengine.__version__,
            'torch': torch.__version__,
        },
        'groups': [
            {'name': name, 'kept': kept, 'total': total}
            for name, (kept, total) in pruner.widths(keep).items()
        ],
        'shapes': {
            name: list(tensor.shape)
            for name, tensor in resizing.named_tensors(model)
            if tuple(tensor.shape) != base.shapes.get(name)
        },
        'attributes': graph.attribute_values(keep),
    }
    if latency is not None:
        summary['latency'] = dict(latency)
    if base is not graph:
        summary['widened'] = {group.name: group.size for group in graph.groups}
    return summary


def plain_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics that are one number, be it a tensor or an array.

    Examples:
        >>> plain_numbers({'psnr': torch.tensor(30.5), 'names': ['a', 'b']})
        {'psnr': 30.5}
    """
    numbers = {}
    for key, value in metrics.items():
        if getattr(value, 'size', None) is not None:
            value = torch.as_tensor(value)
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, (int, float)):
            numbers[key] = float(value)
    return numbers
