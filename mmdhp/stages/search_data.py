"""Training data of the search, where it is not that of the fine-tuning."""

import copy
from collections.abc import Iterator
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset, Subset

from .random_state import own_generator, rng_state, set_rng_state
from .runner_facts import by_epoch


class SearchData:
    """Swaps the training data loader for the time of the search.

    Args:
        runner (Runner): With the loader of the fine-tuning.
        search (dict): ``samples`` and ``dataloader``, or neither.

    Raises:
        ValueError: If the loader's config is unknown, or ``samples`` is not
            between 1 and the size of the data set.
    """

    def __init__(self, runner: Runner, search: dict) -> None:
        self._fine_tune = runner.train_dataloader
        self._search: Optional[DataLoader] = None
        if search.keys() & {'samples', 'dataloader'}:
            self._search = build_loader(
                runner, search.get('samples'), search.get('dataloader') or {}
            )

    def begin(self, runner: Runner) -> None:
        """Train on the data of the search."""
        if self._search is not None:
            _use(runner, self._search, 0)

    def end(self, runner: Runner, done: int) -> None:
        """Train on the data of the fine-tuning; once is enough.

        Args:
            runner (Runner): The runner.
            done (int): Iterations for which it has given no batch, if the
                loop counts iterations.
        """
        if runner.train_dataloader is not self._fine_tune:
            _use(runner, self._fine_tune, done)


def _use(runner: Runner, loader: DataLoader, done: int) -> None:
    loop = runner.train_loop
    loop.dataloader = loader
    own_generator(runner)
    if not by_epoch(runner):
        old = _rest(loop.dataloader_iterator)
        kind: Any = type(old.batches)
        loop.dataloader_iterator = _Rest(kind(loader), done, old.pending)


def skip_quietly(runner: Runner) -> None:
    """Let a resumed loop skip batches without random numbers, in place.

    MMEngine 0.10.7 and before draw the batches of all iterations done and
    throw them away, with what their augmentation takes from the generators;
    later versions ask the iterator to skip them.
    """
    if by_epoch(runner) or not runner.iter:
        return
    rest = _rest(runner.train_loop.dataloader_iterator)
    if not hasattr(rest.batches, 'skip_iter'):
        rest.pending = runner.iter
        runner.train_loop.dataloader_iterator = rest


class _Rest:
    """Batches of a loader that a resumed loop has not seen from its start.

    Args:
        batches (Iterator): MMEngine's endless iterator.
        done (int): Iterations that took their batches elsewhere.
        pending (int): Batches that the loop is about to throw away.
    """

    def __init__(self, batches: Any, done: int = 0, pending: int = 0) -> None:
        self.batches = batches
        self.done = done
        self.pending = pending

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if not self.pending:
            return next(self.batches)
        self.pending -= 1
        if self.done:
            self.done -= 1
            return None
        saved = rng_state()
        try:
            return next(self.batches)
        finally:
            set_rng_state(saved)

    def skip_iter(self, iterations: int) -> None:
        """Skip the batches of a number of iterations of the whole run."""
        if iterations > self.done:
            self.batches.skip_iter(iterations - self.done)


def _rest(batches: Any) -> _Rest:
    return batches if isinstance(batches, _Rest) else _Rest(batches)


def build_loader(
    runner: Runner, samples: Optional[int], changes: dict
) -> DataLoader:
    """Loader of the search.

    Args:
        runner (Runner): With ``train_dataloader`` in its config.
        samples (int, optional): Training samples, drawn once with the run's
            seed. Defaults to all.
        changes (dict): What differs from ``train_dataloader``.
    """
    if not isinstance(runner.cfg.get('train_dataloader'), dict):
        raise ValueError(
            'PruningHook: search has data of its own, but the Runner was '
            'given a built data loader. Build it with Runner.from_cfg(cfg), '
            'or leave `samples` and `dataloader` out.'
        )
    merged = Config({'loader': copy.deepcopy(runner.cfg.train_dataloader)})
    merged.merge_from_dict({'loader': changes})
    cfg = merged.loader.to_dict()
    if samples is not None:
        dataset = DATASETS.build(cfg['dataset'])
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        cfg['dataset'] = _subset(dataset, samples, runner.seed)
    return runner.build_dataloader(cfg, seed=runner.seed)


def _subset(dataset: Dataset, samples: int, seed: int) -> Subset:
    total = len(dataset)  # type: ignore[arg-type]
    whole = isinstance(samples, int) and not isinstance(samples, bool)
    if not whole or not 1 <= samples <= total:
        raise ValueError(
            f'PruningHook: search samples is {samples!r}, but a whole number '
            f'from 1 to {total}, the size of the training data, is needed.'
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(total, generator=generator)[:samples]
    subset = Subset(dataset, sorted(chosen.tolist()))
    subset.metainfo = getattr(dataset, 'metainfo', {})  # type: ignore
    return subset
