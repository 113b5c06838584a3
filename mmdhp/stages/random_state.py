"""Random numbers of a resumed run."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner


def rng_state() -> dict[str, Any]:
    """State of the global generators: Python, NumPy, PyTorch and its GPU."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        'python': random.getstate(),
        'numpy': (kind, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore :func:`rng_state`."""
    version, numbers, gauss = state['python']
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = state['numpy']
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def own_generator(runner: Runner) -> None:
    """Give the training data loader a generator of its own.

    It draws the seed of its workers whenever it starts, which a resumed run
    does once more than an uninterrupted one; from the global generator, that
    would change every random number behind it.
    """
    generator = torch.Generator().manual_seed(runner.seed + runner.iter)
    runner.train_dataloader.generator = generator
