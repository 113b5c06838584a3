"""From the search model to the small, dense model inside a running Runner."""
import copy
import gc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine import dist
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, EMAHook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdhp.graph import ChannelGraph
from mmdhp.surgery import shrink, take, verify


def unwrapped(runner: Runner) -> nn.Module:
    """The model itself, without DDP around it."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def loop_length(runner: Runner) -> int:
    """Length of training in the loop's own unit (epochs or iterations)."""
    loop = runner.train_loop
    return loop.max_epochs if by_epoch(runner) else loop.max_iters


def by_epoch(runner: Runner) -> bool:
    """Whether the train loop counts epochs."""
    return hasattr(runner.train_loop, 'run_epoch')


def set_loop_length(runner: Runner, length: int) -> None:
    """Change the length of training, in the loop's own unit."""
    loop = runner.train_loop
    if by_epoch(runner):
        loop._max_epochs = length
        loop._max_iters = length * len(loop.dataloader)
    else:
        loop._max_iters = length


@contextmanager
def temporary_length(runner: Runner, length: int) -> Iterator[None]:
    """Pretend that training has some length, for what derives from it."""
    saved = loop_length(runner)
    set_loop_length(runner, length)
    try:
        yield
    finally:
        set_loop_length(runner, saved)


def check_ranks_agree(keep: Tensor) -> None:
    """Compare a hash of the keep mask over all processes.

    Raises:
        RuntimeError: On every process, if any decided differently.
    """
    own = zlib.crc32(keep.to(torch.uint8).numpy().tobytes())
    hashes = torch.tensor([own, -own], dtype=torch.float64)
    dist.all_reduce(hashes, op='max')
    if hashes[0] != -hashes[1]:
        raise RuntimeError(
            f'Processes selected different channels (rank {dist.get_rank()} '
            f'keeps {int(keep.sum())} units, hash {own}). The search '
            'variables have diverged: check that all ranks run the same '
            'config and that no hook changes gradients on one rank only.'
        )


def check_exact(
    model: nn.Module,
    graph: ChannelGraph,
    keep: Tensor,
    input_shape: tuple[int, ...],
    tolerance: float = 1e-3,
) -> float:
    """Prove on random input that cutting changes nothing but zeros.

    Args:
        model (nn.Module): The search model, before the cut.
        graph (ChannelGraph): Its graph.
        keep (Tensor): bool mask, shape ``(U, )``.
        input_shape (tuple[int]): Without the batch axis.
        tolerance (float): Largest allowed relative difference of masked and
            shrunk output. Defaults to 1e-3, for single precision.

    Returns:
        float: The difference found.

    Raises:
        RuntimeError: If it is larger; the model is not changed.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(2, *input_shape, generator=generator).to(device)
    difference = verify(model, graph, keep, inputs, relative=True)
    if not difference <= tolerance:
        raise RuntimeError(
            f'The pruned {type(model).__name__} differs from the masked one '
            f'by {difference:.3g} (relative), more than {tolerance:g}: the '
            'channel graph is wrong for this architecture. Nothing was cut. '
            'Find the module with `mmdhp.verify`, one group at a time, and '
            'add it to `exclude`.'
        )
    return difference


def cut(
    runner: Runner,
    graph: ChannelGraph,
    keep: Tensor,
    build_fine_tune: Any,
    slice_state: bool = False,
) -> None:
    """Shrink the runner's model and give it a new optimizer, in place.

    Args:
        runner (Runner): In search.
        graph (ChannelGraph): Graph of the model.
        keep (Tensor): bool mask, shape ``(U, )``.
        build_fine_tune (Callable): Builds the optimizer wrapper for a model.
        slice_state (bool): Carry over the optimizer state (momentum,
            moments) of parameters that the search trained directly.
    """
    model = unwrapped(runner)
    search_state = runner.optim_wrapper.optimizer.state
    names = {id(p): n for n, p in model.named_parameters()}
    sliced = {}
    if slice_state:
        positions = graph.positions(keep)
        sliced = {
            names[id(p)]: {
                k: take(v, names[id(p)], positions)
                if isinstance(v, Tensor) and v.shape == p.shape
                else v
                for k, v in state.items()
            }
            for p, state in search_state.items()
            if id(p) in names and state
        }
    wrapped = is_model_wrapper(runner.model)
    runner.model = model
    runner.optim_wrapper.optimizer.zero_grad(set_to_none=True)
    gc.collect()  # an old DDP wrapper would keep gradient hooks alive
    shrink(model, graph, keep)
    if wrapped:
        runner.model = runner.wrap_model(
            copy.deepcopy(runner.cfg.get('model_wrapper_cfg')), model
        )
    runner.optim_wrapper = build_fine_tune(model)
    for name, parameter in model.named_parameters():
        if name in sliced:
            runner.optim_wrapper.optimizer.state[parameter] = sliced[name]
    reset_hooks(runner)


def start_schedulers(
    runner: Runner, param_scheduler: Any, length: int
) -> None:
    """Build schedulers that start now, for a stage of some length.

    Args:
        runner (Runner): Its optimizer wrapper is the stage's own.
        param_scheduler (dict | list | None): As in an MM config.
        length (int): Of the stage, in the loop's own unit.
    """
    with temporary_length(runner, length):
        runner.param_schedulers = runner.build_param_scheduler(
            copy.deepcopy(param_scheduler or [])
        )


def reset_hooks(runner: Runner) -> None:
    """Let hooks forget the search model: EMA copy, best score, patience."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            hook.before_run(runner)
        elif isinstance(hook, CheckpointHook):
            for key in list(runner.message_hub.runtime_info):
                if key.startswith('best_'):
                    runner.message_hub.pop_info(key)
            if getattr(hook, 'key_indicators', None) is not None:
                hook.best_ckpt_path = None
        elif isinstance(hook, EarlyStoppingHook):
            hook.wait_count = 0
            hook.best_score = -float('inf')
            if hook.rule == 'less':
                hook.best_score = float('inf')


@torch.no_grad()
def recalibrate(runner: Runner, batches: int) -> None:
    """Estimate BatchNorm statistics anew, in place.

    Args:
        runner (Runner): Its model is the pruned one.
        batches (int): Training batches to average over.
    """
    model = unwrapped(runner)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    norms = [m for m in norms if m.track_running_stats]
    if not norms or batches < 1:
        return
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    model.train()
    rng = torch.get_rng_state()
    for _, data in zip(range(batches), runner.train_dataloader):
        data = model.data_preprocessor(data, True)
        model._run_forward(data, mode='loss')
    torch.set_rng_state(rng)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        if dist.is_distributed():
            for buffer in (norm.running_mean, norm.running_var):
                dist.all_reduce(buffer, op='mean')
    print_log(
        f'BatchNorm statistics estimated anew from {batches} batches.',
        logger='current',
    )

