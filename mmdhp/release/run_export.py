"""Export at the end of a run."""

from collections.abc import Mapping
from typing import Any, Optional

from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import weights_to_cpu
from torch import Tensor

from mmdhp.methods import Pruner
from mmdhp.stages.runner_facts import unwrapped

from .folder import write_folder
from .summary import channel_summary, checkpoint_meta


def export(
    runner: Runner,
    pruner: Pruner,
    keep: Tensor,
    metrics: Mapping[str, float],
    latency: Optional[Mapping[str, Any]] = None,
) -> str:
    """Write ``WORK_DIR/pruned/``: weights, config, channels and loader.

    The folder appears whole or not at all; an older one is replaced.

    Args:
        runner (Runner): Its model is the pruned one.
        pruner (Pruner): The method that pruned it.
        keep (Tensor): The mask, shape ``(U, )``.
        metrics (Mapping[str, float]): Last validation metrics.
        latency (Mapping, optional): Of :func:`latency_summary`, if it is a
            target. Defaults to None.

    Returns:
        str: Path of the folder.
    """
    model = unwrapped(runner)
    checkpoint = {
        'meta': _checkpoint_meta(runner, pruner),
        'state_dict': _validated_weights(runner),
    }
    summary = channel_summary(pruner, keep, model, metrics, latency)
    return write_folder(runner.work_dir, runner.cfg, checkpoint, summary)


def _validated_weights(runner: Runner) -> dict[str, Tensor]:
    """The weights that validation measures: the average, if there is one."""
    model = unwrapped(runner)
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            model = hook.ema_model.module
    return weights_to_cpu(model.state_dict())


def _checkpoint_meta(runner: Runner, pruner: Pruner) -> dict[str, Any]:
    dataset = runner.train_dataloader.dataset
    return checkpoint_meta(pruner, getattr(dataset, 'metainfo', None) or {})
