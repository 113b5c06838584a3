"""Latency and memory of a pruned network beside the original, measured."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmdhp.costs.timing import latencies
from mmdhp.models.model_forward import run_model
from mmdhp.models.widened import original_architecture


@dataclass(frozen=True)
class Measured:
    """Of the original network and of the pruned one.

    Args:
        latency (tuple[float, float]): Milliseconds of a forward pass of one
            input.
        memory (tuple[int, int]): Bytes of activations, at their peak.
        threads (int): With which it was measured.
    """

    latency: tuple[float, float]
    memory: tuple[int, int]
    threads: int


def measure(
    models: Sequence[nn.Module], input_shape: Sequence[int], rounds: int
) -> Measured:
    """Run both networks, interleaved, on the CPU.

    Args:
        models (Sequence[nn.Module]): The original and the pruned one, in
            eval mode.
        input_shape (Sequence[int]): Of one input, without the batch axis.
        rounds (int): Passes of each that are timed.
    """
    inputs = torch.rand(1, *input_shape)
    memory = [peak_activations(model, inputs) for model in models]
    times = latencies(models, inputs, run_model, rounds)
    return Measured(
        (times[0], times[1]), (memory[0], memory[1]), torch.get_num_threads()
    )


def original_model(cfg: Config) -> nn.Module:
    """The network of a run before it was widened or pruned, in eval mode.

    Args:
        cfg (Config): Of the run.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    model: dict[str, Any] = original_architecture(cfg.model.to_dict())
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(model).eval()


@torch.no_grad()
def peak_activations(model: nn.Module, inputs: Tensor) -> int:
    """Most bytes of tensors that a forward pass holds at once.

    The input counts, parameters and buffers do not, nor what an operator
    allocates for itself.

    Args:
        model (nn.Module): In eval mode.
        inputs (Tensor): A batch.
    """
    with _watch(inputs) as watch:
        run_model(model, inputs)
    return watch.peak


class _Watch(TorchDispatchMode):
    """Adds up the storages that operators have made and that still live."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage."""
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        self._alive.setdefault(reference.cdata, (reference, storage.nbytes()))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {
            StorageWeakRef(t.untyped_storage()).cdata
            for t in tree_leaves((args, kwargs))
            if isinstance(t, Tensor)
        }
        self._alive = {
            key: entry
            for key, entry in self._alive.items()
            if not entry[0].expired()
        }
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                key = StorageWeakRef(tensor.untyped_storage()).cdata
                if key not in given:  # no view of a parameter
                    self.add(tensor)
        total = sum(size for _, size in self._alive.values())
        self.peak = max(self.peak, total)
        return result


@contextlib.contextmanager
def _watch(inputs: Tensor) -> Iterator[_Watch]:
    watch = _Watch()
    watch.add(inputs)
    with watch:
        yield watch
