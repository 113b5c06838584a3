"""From the search model to the small, dense model inside a running Runner."""

import copy
import gc
from typing import Any, Callable

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, EMAHook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmdhp.graph import ChannelGraph
from mmdhp.methods import Pruner
from mmdhp.surgery import plain_forwards, shrink, take

from .runner_facts import unwrapped


def cut(
    runner: Runner,
    pruner: Pruner,
    keep: Tensor,
    build_fine_tune: Callable[[nn.Module], OptimWrapper],
    slice_state: bool,
) -> OptimWrapper:
    """Shrink the runner's model, in place, and wrap it for DDP again.

    Args:
        runner (Runner): In search.
        pruner (Pruner): Attached to the model.
        keep (Tensor): bool mask, shape ``(U, )``.
        build_fine_tune (Callable): Builds the optimizer wrapper for a model.
        slice_state (bool): Carry over the optimizer state (momentum,
            moments) of parameters that the search trained directly.

    Returns:
        OptimWrapper: For the small model.
    """
    model = unwrapped(runner)
    search = runner.optim_wrapper.optimizer
    sliced = _sliced_state(model, search.state, pruner.graph, keep)
    wrapped = is_model_wrapper(runner.model) or runner.distributed
    runner.model = model
    search.zero_grad(set_to_none=True)
    gc.collect()  # an old DDP wrapper would keep gradient hooks alive
    shrink(model, pruner.graph, keep)
    pruner.after_cut(model, keep)
    if wrapped:
        runner.model = runner.wrap_model(
            copy.deepcopy(runner.cfg.get('model_wrapper_cfg')), model
        )
    fine_tune = build_fine_tune(model)
    if slice_state:
        for name, parameter in model.named_parameters():
            if name in sliced:
                fine_tune.optimizer.state[parameter] = sliced[name]
    reset_hooks(runner)
    return fine_tune


def _sliced_state(
    model: nn.Module, state: Any, graph: ChannelGraph, keep: Tensor
) -> dict[str, dict[str, Any]]:
    """Optimizer state of the model's own parameters, cut like them."""
    positions = graph.positions(keep)
    sliced = {}
    for name, parameter in model.named_parameters():
        if state.get(parameter):
            sliced[name] = {
                key: take(value, name, positions)
                if isinstance(value, Tensor) and value.shape == parameter.shape
                else value
                for key, value in state[parameter].items()
            }
    return sliced


def reset_hooks(runner: Runner) -> None:
    """Let hooks forget the search model: EMA copy, best score, patience."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            with plain_forwards(unwrapped(runner)):
                hook.before_run(runner)
        elif isinstance(hook, CheckpointHook):
            for key in list(runner.message_hub.runtime_info):
                if key.startswith('best_'):
                    runner.message_hub.pop_info(key)
            if hasattr(hook, 'best_ckpt_path'):
                hook.best_ckpt_path = None
            for key in getattr(hook, 'best_ckpt_path_dict', {}):
                hook.best_ckpt_path_dict[key] = None
        elif isinstance(hook, EarlyStoppingHook):
            hook.wait_count = 0
            better = -1 if hook.rule == 'less' else 1
            hook.best_score = -better * float('inf')
