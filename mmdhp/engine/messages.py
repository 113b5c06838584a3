"""What a run tells people."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmdhp.costs import Memory
from mmdhp.methods import Pruner
from mmdhp.text import amount, table

LATENCY_TOLERANCE = 0.05  # by which a measurement may miss its target


def group_table(pruner: Pruner, keep: Tensor) -> str:
    """Kept channels of every group, MACs, parameters and memory.

    For a widened model, those of the baseline stand beside them.

    Args:
        pruner (Pruner): Attached pruner.
        keep (Tensor): bool mask, shape ``(U, )``.
    """
    graph, base = pruner.graph, pruner.baseline
    header = ['group', 'kept', 'of', 'share']
    rows = [
        [name, str(kept), str(total), f'{kept / total:.0%}']
        for name, (kept, total) in graph.widths(keep).items()
    ]
    if base is not graph:
        header += ['baseline', 'growth']
        for row, (kept, old) in zip(rows, pruner.widths(keep).values()):
            row += [str(old), f'{kept / old - 1:+.0%}']
    macs = int(graph.macs(keep, pruner.kinds))
    all_macs = int(base.macs(kinds=pruner.kinds))
    params, all_params = int(graph.params(keep)), int(base.params())
    memory = Memory(graph, base)
    peak = memory.value(keep)
    return (
        f'{table(rows, header)}\n'
        f'MACs: {amount(macs)} of {amount(all_macs)} '
        f'({macs / all_macs:.2%}); parameters: {amount(params)} of '
        f'{amount(all_params)} ({params / all_params:.2%}); activation '
        f'memory: {amount(peak)}B of {amount(memory.full)}B '
        f'({peak / memory.full:.2%}).'
    )


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


def announcement(
    pruner: Pruner, search: int, fine_tune: int, unit: str
) -> str:
    """What a run is about to do.

    Args:
        pruner (Pruner): Attached pruner.
        search (int): Length of the search, at most; 0 for none.
        fine_tune (int): Length of the fine-tuning.
        unit (str): What the lengths count.
    """
    stages = f'at once, then {fine_tune} {unit} of fine-tuning'
    if search:
        stages = (
            f'after at most {search} {unit} of search, then {fine_tune} of '
            'fine-tuning'
        )
    text = f'{pruner.name}: {pruner.graph}. Target: {pruner.target}, {stages}.'
    if pruner.graph.unused:
        text += (
            '\nNot reached by the traced forward pass, so left as they are: '
            f'{", ".join(pruner.graph.unused[:8])}.'
        )
    return text
