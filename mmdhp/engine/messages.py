"""What a run tells people."""

from torch import Tensor

from mmdhp.costs import Memory
from mmdhp.methods import Pruner
from mmdhp.text import amount, table


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
