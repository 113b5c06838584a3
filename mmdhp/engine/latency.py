"""Wall-clock time of forward passes."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmdhp.models.model_forward import run_model


@torch.no_grad()
def latencies(
    models: Sequence[nn.Module],
    inputs: Tensor,
    rounds: int = 15,
    forward: Callable[[nn.Module, Any], Any] = run_model,
) -> list[float]:
    """Median time of one forward pass of several models.

    Their passes are interleaved, so that a busy machine slows all of them.

    Args:
        models (Sequence[nn.Module]): Models on one device, in eval mode.
        inputs (Tensor): Batch on that device.
        rounds (int): Passes per model behind a first one that does not count.
            Defaults to 15.
        forward (Callable): Runs a model. Defaults to :func:`run_model`.

    Returns:
        list[float]: Milliseconds.
    """
    for model in models:
        forward(model, inputs)
    times: list[list[float]] = [[] for _ in models]
    for _ in range(rounds):
        for model, own in zip(models, times):
            _wait(inputs.device)
            start = time.perf_counter()
            forward(model, inputs)
            _wait(inputs.device)
            own.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(own) for own in times]


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
