"""BatchNorm statistics of a model that has just been cut."""

import itertools
from typing import Any

import torch
from mmengine import dist
from mmengine.dataset import DefaultSampler
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from .random_state import rng_state, set_rng_state
from .transition import unwrapped


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
    model: Any = unwrapped(runner)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    norms = [m for m in norms if m.track_running_stats]
    if not norms or batches < 1:
        return
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    model.train()
    rng = rng_state()
    count = 0
    with runner.optim_wrapper.optim_context(runner.model):
        for data in itertools.islice(_calibration_data(runner), batches):
            count += 1
            data = model.data_preprocessor(data, True)
            model._run_forward(data, mode='loss')
    set_rng_state(rng)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        if dist.is_distributed():
            for buffer in (norm.running_mean, norm.running_var):
                dist.all_reduce(buffer, op='mean')
    print_log(
        f'BatchNorm statistics estimated anew from {count} batches.',
        logger='current',
    )


def _calibration_data(runner: Runner) -> DataLoader:
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
