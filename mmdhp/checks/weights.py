"""What weights must be to be pruned."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdhp.graph import ChannelGraph
from mmdhp.methods import Pruner


def check_unpruned(
    state_dict: Mapping[str, Tensor], graph: ChannelGraph
) -> None:
    """Refuse a pruned checkpoint where a search is to start.

    Layers that do not hold prunable channels may differ, as a classifier for
    other classes does.

    Raises:
        ValueError: Naming tensors that are narrower than the model's.
    """
    narrow = []
    for (name, axis), units in graph.axis_units.items():
        found = state_dict.get(name)
        if found is None or axis >= found.dim():
            continue
        if (units < graph.num_units).any() and found.shape[axis] < len(units):
            narrow.append(f'{name}: {found.shape[axis]} of {len(units)}')
    if narrow:
        raise ValueError(
            '`load_from` names a narrower model: pruned already, or the '
            'baseline of a widened one (channels of '
            f'{"; ".join(narrow[:3])}). Continue its run with --resume, or '
            "fine-tune it as model=dict(type='mmdhp.Pruned', "
            'architecture=...) without a pruner.'
        )


def check_complete(state_dict: Mapping[str, Tensor], pruner: Pruner) -> None:
    """Refuse a checkpoint that lacks weights of prunable layers.

    MMEngine loads what fits and only logs the rest.

    Raises:
        ValueError: Naming missing tensors.
    """
    graph = pruner.graph
    needed = {
        name
        for (name, _), units in graph.axis_units.items()
        if name in graph.trainable and (units < graph.num_units).any()
    }
    missing = sorted(needed - state_dict.keys())
    if missing:
        raise ValueError(
            f'{pruner.name} prunes a trained network, but `load_from` lacks '
            f'{len(missing)} of the {len(needed)} tensors with prunable '
            f'channels ({", ".join(missing[:3])}, ...). Give a checkpoint of '
            'this model; it has keys such as '
            f'{", ".join(list(state_dict)[:2]) or "none"}.'
        )


def check_trained(model: nn.Module, method: str) -> None:
    """Refuse a network whose BatchNorms have never seen a batch.

    Raises:
        ValueError: If all running statistics are as initialised.
    """
    norms: list[Any] = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    untouched = [
        not norm.running_mean.any() and bool((norm.running_var == 1).all())
        for norm in norms
    ]
    if norms and all(untouched):
        raise ValueError(
            f'{method} prunes a trained network, but the statistics of all '
            f'{len(norms)} BatchNorms are as initialised: the checkpoint is '
            'of an untrained network, or was not loaded. Train it first, or '
            'check `load_from`.'
        )
