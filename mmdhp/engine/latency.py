"""Latency of a pruned network: as predicted, and as measured."""

import logging
from collections.abc import Mapping
from typing import Any, Optional

from mmengine.logging import print_log
from torch import Tensor

from mmdhp.methods import Pruner

LATENCY_TOLERANCE = 0.05  # by which a measurement may miss its target


def measured_latency(pruner: Pruner, keep: Tensor) -> Optional[dict[str, Any]]:
    """Compare the latency that was predicted with one that is measured.

    Args:
        pruner (Pruner): Attached pruner.
        keep (Tensor): bool mask, shape ``(U, )``.

    Returns:
        dict | None: Of :func:`latency_summary`; None if latency is no target.
    """
    measured = pruner.measure(keep)
    if not measured:
        return None
    latency = latency_summary(pruner, keep, measured)
    print_log(
        latency_text(latency),
        logger='current',
        level=logging.WARNING if latency['missed'] else logging.INFO,
    )
    return latency


def latency_summary(
    pruner: Pruner, keep: Tensor, measured: Mapping[str, float]
) -> dict[str, Any]:
    """Latency of baseline and pruned network, measured and predicted.

    Args:
        pruner (Pruner): Attached pruner with latency in its target.
        keep (Tensor): bool mask, shape ``(U, )``.
        measured (Mapping[str, float]): Of :meth:`Pruner.measure`.

    Returns:
        dict: Plain numbers; times in milliseconds.
    """
    cost, meter = pruner.goal.costs['latency'], pruner.meter
    assert meter is not None
    found = _pair(measured['original'], measured['pruned'])
    target = pruner.target.as_dict()['latency']
    return {
        **found,
        'target': target,
        'missed': found['ratio'] > target + LATENCY_TOLERANCE,
        'predicted': _pair(cost.full, cost.value(keep)),
        'unit': 'ms',
        'batch_size': meter.options.batch_size,
        'input_shape': list(meter.shape[1:]),
        'environment': meter.environment(),
    }


def _pair(original: float, pruned: float) -> dict[str, float]:
    return {
        'original': original,
        'pruned': pruned,
        'ratio': pruned / original,
    }


def latency_text(latency: Mapping[str, Any]) -> str:
    """A sentence about :func:`latency_summary`."""
    predicted = latency['predicted']
    shape = 'x'.join(map(str, latency['input_shape']))
    missed = (
        f' More than the target of {latency["target"]:.2%}: the machine was '
        'busy, or its kernels prefer other widths. Set divisor=8 or 16, or a '
        'smaller target.'
    )
    return (
        f'Latency of {latency["batch_size"]} x {shape}: measured '
        f'{latency["pruned"]:.4g} of {latency["original"]:.4g} ms '
        f'({latency["ratio"]:.2%}); predicted {predicted["pruned"]:.4g} of '
        f'{predicted["original"]:.4g} ms ({predicted["ratio"]:.2%}).'
        f'{missed if latency["missed"] else ""}'
    )
