"""What a run must bring to be pruned."""

import logging
from typing import Any, Optional

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mmdhp.methods import Pruner


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
