"""Training batches on the side, before or between the iterations of a run."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from mmengine import dist
from mmengine.dataset import DefaultSampler
from mmengine.hooks import EMAHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mmdhp.methods import Pruner

from .random_state import rng_state, set_rng_state
from .runner_facts import unwrapped


@torch.no_grad()
def recalibrate(runner: Runner, batches: int) -> None:
    """Estimate BatchNorm statistics anew, in place.

    They become the average over training batches of this process, then over
    all processes. Training continues with the data and the random numbers
    that it would have had.

    Args:
        runner (Runner): Its model is the pruned one.
        batches (int): Training batches to average over; with fewer in the
            data set, all of them.
    """
    model = unwrapped(runner)
    if batches < 1 or not tracking_norms(model):
        return
    count = estimate_statistics(model, _losses(runner, model, batches))
    print_log(
        f'BatchNorm statistics estimated anew from {count} batches.',
        logger='current',
    )


def tracking_norms(model: nn.Module) -> list[Any]:
    """BatchNorms of a model that keep statistics."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    return [norm for norm in norms if norm.track_running_stats]


@torch.no_grad()
def estimate_statistics(model: nn.Module, passes: Iterable[Any]) -> int:
    """Average BatchNorm statistics over forward passes, in place.

    Then over all processes. The model is left in training mode.

    Args:
        model (nn.Module): The model.
        passes (Iterable): Runs the model once with every item.

    Returns:
        int: Number of passes.
    """
    norms = tracking_norms(model)
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    model.train()
    try:
        count = sum(1 for _ in passes)
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
    _average(norms)
    return count


@torch.no_grad()
def share_statistics(runner: Runner) -> None:
    """Average BatchNorm statistics over all processes, in place.

    DDP leaves them to each process, but the first one's are saved: without
    this, a validation by several processes measures several networks, of
    which none is the exported one.

    Args:
        runner (Runner): Its model and the averages of it are changed; norms
            in evaluation mode are not.
    """
    if not dist.is_distributed():
        return
    averages = [h.ema_model for h in runner.hooks if isinstance(h, EMAHook)]
    for model in (unwrapped(runner), *averages):
        _average([norm for norm in tracking_norms(model) if norm.training])


def _average(norms: Iterable[Any]) -> None:
    for norm in norms:
        for buffer in (norm.running_mean, norm.running_var):
            dist.all_reduce(buffer, op='mean')  # nothing in one process


def show_gradients(runner: Runner, pruner: Pruner) -> None:
    """Let a pruner pull the gradients of some training batches.

    The model is in eval mode, so that it is what has been trained, and is
    left without gradients. Training continues with the data and the random
    numbers that it would have had.

    Args:
        runner (Runner): Its model is the original one.
        pruner (Pruner): It says how many batches it wants.
    """
    if pruner.batches < 1:
        return
    runner.model.eval()
    for loss in _losses(runner, runner.model, pruner.batches):
        loss.backward()
        pruner.pull()
        runner.model.zero_grad(set_to_none=True)
    runner.model.train()


def _losses(runner: Runner, model: Any, batches: int) -> Iterator[Tensor]:
    """Losses of a model, in its present mode, on some training batches."""
    plain: Any = unwrapped(runner)
    rng = rng_state()
    try:
        for data in itertools.islice(_training_data(runner), batches):
            data = plain.data_preprocessor(data, True)
            with runner.optim_wrapper.optim_context(plain):  # synchronised
                losses = model._run_forward(data, mode='loss')
                loss, _ = plain.parse_losses(losses)
            yield loss
    finally:
        set_rng_state(rng)


def _training_data(runner: Runner) -> DataLoader:
    """The training data from its start.

    A second iterator over the loader of the run would advance a sampler that
    never starts again (InfiniteSampler).
    """
    loader = runner.train_dataloader
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size or 1,
        sampler=DefaultSampler(loader.dataset, seed=runner.seed),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        worker_init_fn=loader.worker_init_fn,
    )
