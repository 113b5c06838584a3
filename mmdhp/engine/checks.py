"""What must hold before a run may go on."""

import logging
from collections.abc import Mapping
from typing import Any, Optional

import torch
from mmengine import dist
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mmdhp.graph import ChannelGraph
from mmdhp.methods import Pruner
from mmdhp.models.model_forward import run_model
from mmdhp.surgery import verify

TOLERANCE = 1e-3  # largest relative difference, for single precision


def check_runner(runner: Any) -> None:
    """Refuse runners that hold their model and optimizer elsewhere.

    Raises:
        TypeError: If it is no :class:`Runner`.
    """
    if not isinstance(runner, Runner):
        raise TypeError(
            f'PruningHook found a {type(runner).__name__}, whose strategy '
            '(DeepSpeed, FSDP, ...) owns model and optimizer, so channels '
            "cannot be cut. Remove runner_type='FlexibleRunner' and "
            '`strategy`, and start several processes with '
            'tools/dist_train.sh.'
        )


def check_exact(
    model: nn.Module,
    graph: ChannelGraph,
    keep: Tensor,
    input_shape: tuple[int, ...],
) -> float:
    """Prove on random input that cutting changes nothing but zeros.

    Args:
        model (nn.Module): The search model, before the cut.
        graph (ChannelGraph): Its graph.
        keep (Tensor): bool mask, shape ``(U, )``.
        input_shape (tuple[int]): Without the batch axis.

    Returns:
        float: Relative difference of masked and shrunk output, the largest
        of all processes.

    Raises:
        RuntimeError: On every process, if it is too large; the model is not
            changed.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(2, *input_shape, generator=generator).to(device)
    difference = verify(
        model, graph, keep, inputs, forward=run_model, relative=True
    )
    worst = torch.tensor(difference)
    dist.all_reduce(worst, op='max')
    difference = float(worst)
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f'The pruned {type(model).__name__} differs from the masked one '
            f'by {difference:.3g} (relative), more than {TOLERANCE:g}: the '
            'channel graph is wrong for this architecture. Nothing was cut. '
            'Find the module with `mmdhp.verify`, one group at a time, and '
            'add it to `exclude`.'
        )
    return difference


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


def check_data(runner: Runner) -> None:
    """Refuse data loaders without batches; warn of batches of one.

    Raises:
        ValueError: Naming the loaders, with the size of their data sets.
    """
    loops = {'train': runner.train_loop, 'val': runner.val_loop}
    problems = []
    for name, loop in loops.items():
        loader = getattr(loop, 'dataloader', None)
        if isinstance(loader, DataLoader) and _length(loader) == 0:
            samples = _length(loader.dataset)
            problem = f'{name}_dataloader gives no batch: its data set has '
            problem += f'{samples} samples'
            if loader.drop_last and samples:
                problem += f', and drop_last needs {loader.batch_size} of them'
            problems.append(problem)
    if problems:
        raise ValueError(
            f'{"; ".join(problems)}. Check its paths and filters; without '
            'validation, set val_cfg, val_dataloader and val_evaluator to '
            'None.'
        )
    norms = [m for m in runner.model.modules() if isinstance(m, _BatchNorm)]
    if getattr(runner.train_dataloader, 'batch_size', None) == 1 and norms:
        print_log(
            f'train_dataloader has batches of one, in which {len(norms)} '
            'BatchNorms see a single sample: their statistics are poor, and '
            'where a feature map is one pixel, PyTorch refuses to train. '
            'Take larger batches.',
            logger='current',
            level=logging.WARNING,
        )


def _length(sized: Any) -> Optional[int]:
    """Length of something that may have none."""
    try:
        return len(sized)
    except TypeError:
        return None


def check_weights_named(runner: Runner, method: str) -> None:
    """Refuse to prune a network for which the config names no weights.

    Raises:
        ValueError: Says where weights are named.
    """
    named = runner._load_from or runner._resume
    if not named and not _has_pretrained(runner.cfg.get('model')):
        raise ValueError(
            f'{method} prunes a trained network, but this config starts from '
            "random weights. Set load_from='CHECKPOINT.pth', or give the "
            "model init_cfg=dict(type='Pretrained', "
            "checkpoint='CHECKPOINT.pth')."
        )


def _has_pretrained(tree: Any) -> bool:
    if isinstance(tree, dict):
        if tree.get('pretrained'):
            return True
        kind = tree.get('type')
        if kind in ('Pretrained', PretrainedInit) and tree.get('checkpoint'):
            return True
        return any(map(_has_pretrained, tree.values()))
    return isinstance(tree, (list, tuple)) and any(map(_has_pretrained, tree))


def check_optimizer_state(kind: str, pruner: Pruner) -> None:
    """Refuse to carry momentum over to weights that are drawn anew.

    Args:
        kind (str): The option ``optimizer_state`` of the hook.
        pruner (Pruner): The method.

    Raises:
        ValueError: If they contradict each other.
    """
    if kind == 'sliced' and pruner.draws_weights:
        raise ValueError(
            f"PruningHook: optimizer_state is 'sliced', but {pruner.name} "
            'draws new weights behind the cut, which the momentum of the '
            "search does not belong to. Set optimizer_state='new' (the "
            "default), or weights='generated' to keep those of the search."
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
