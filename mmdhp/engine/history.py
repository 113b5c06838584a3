"""What a run notes beside its logs, for pictures of its course."""

import json
import math
import os.path as osp
import time
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import torch
from mmengine.runner import Runner
from mmengine.visualization import TensorboardVisBackend
from torch import Tensor

from mmdhp.graph import ChannelGraph
from mmdhp.methods import Distribution, Progress, Pruner
from mmdhp.release.summary import plain_numbers
from mmdhp.stages.runner_facts import position, unit
from mmdhp.version import __version__

FILE = 'pruning_history.jsonl'
FORMAT_VERSION = 1
BINS = 64


class History:
    """Appends one JSON object a line to the log folder of a run.

    Every start of a run has a time-stamped log folder of its own, so a
    resumed run adds a file that begins with the iteration at which it goes
    on: what an interrupted run did behind it does not count. A line is
    written in a few milliseconds, by the main process alone.

    Args:
        runner (Runner): About to train.
        pruner (Pruner): Attached pruner.
        state (str): ``'search'`` or ``'fine_tune'``.
        lengths (tuple[int, int]): Of search and fine-tuning, in the loop's
            unit.
    """

    def __init__(
        self,
        runner: Runner,
        pruner: Pruner,
        state: str,
        lengths: tuple[int, int],
    ) -> None:
        self._pruner = pruner
        self._path = osp.join(runner.log_dir, FILE)
        self._main = runner.rank == 0
        self._searches = lengths[0] > 0
        if self._main:
            start = {**start_entry(runner, pruner, lengths), 'state': state}
            self._write('start', runner.iter, start)

    def look(
        self, runner: Runner, progress: Progress, statistics: Mapping
    ) -> None:
        """Note where the search stands behind the iteration at hand."""
        if not self._main:
            return
        shown = self._pruner.distribution()
        entry = {
            'macs': progress.macs,
            'params': progress.params,
            'statistics': plain_numbers(statistics),
            'histogram': histogram(shown),
        }
        self._write('look', runner.iter + 1, entry)
        add_histogram(runner, shown, runner.iter + 1)

    def cut(
        self, runner: Runner, keep: Tensor, ratios: tuple[float, float]
    ) -> None:
        """Note what the transition leaves, before the model is shrunk.

        Args:
            runner (Runner): About to shrink its model.
            keep (Tensor): The mask, shape ``(U, )``.
            ratios (tuple[float, float]): MACs and parameters that are left.
        """
        if not self._main:
            return
        graph, shown = self._pruner.graph, self._pruner.distribution()
        entry = {
            'position': position(runner),
            'macs': ratios[0],
            'params': ratios[1],
            'kept': [kept for kept, _ in graph.widths(keep).values()],
            'layers': list(layer_widths(graph, keep).values()),
            'histogram': histogram(shown, keep),
        }
        self._write('cut', runner.iter, entry)
        if not self._searches:  # else the last look has added it
            add_histogram(runner, shown, runner.iter)

    def validation(self, runner: Runner, metrics: Mapping[str, Any]) -> None:
        """Note the measures of a validation."""
        if self._main:
            entry = {'metrics': plain_numbers(metrics)}
            self._write('validation', runner.iter, entry)

    def end(self, runner: Runner) -> None:
        """Note that training has come to its end."""
        if self._main:
            self._write('end', runner.iter, {})

    def _write(self, kind: str, iteration: int, entry: Mapping) -> None:
        whole = {'kind': kind, 'iter': iteration, **entry}
        with open(self._path, 'a', encoding='utf-8') as file:
            file.write(f'{json.dumps(_finite(whole))}\n')


def start_entry(
    runner: Runner, pruner: Pruner, lengths: tuple[int, int]
) -> dict[str, Any]:
    """What is known of a run before its first iteration.

    Args:
        runner (Runner): About to train.
        pruner (Pruner): Attached pruner.
        lengths (tuple[int, int]): Of search and fine-tuning.
    """
    graph, base = pruner.graph, pruner.baseline
    widths = pruner.widths(graph.full())
    original = layer_widths(base, base.full())
    return {
        'format_version': FORMAT_VERSION,
        'mmdhp': __version__,
        'time': time.strftime('%Y-%m-%d %H:%M:%S'),
        'method': pruner.name,
        'target': str(pruner.target),
        'unit': unit(runner),
        'search_length': lengths[0],
        'fine_tune_length': lengths[1],
        'input_shape': list(pruner.input_shape),
        'macs': int(base.macs(kinds=pruner.kinds)),
        'params': int(base.params()),
        'groups': [[name, now, old] for name, (now, old) in widths.items()],
        'frozen': [[g.name, g.size, g.code, g.reason] for g in graph.frozen],
        'layers': [
            [name, now, original.get(name, now)]
            for name, now in layer_widths(graph, graph.full()).items()
        ],
    }


def layer_widths(graph: ChannelGraph, keep: Tensor) -> dict[str, int]:
    """Output channels of every conv and linear layer, in order of use.

    Args:
        graph (ChannelGraph): Graph of the whole model.
        keep (Tensor): bool mask, shape ``(U, )``.
    """
    gates = graph.extend(graph.check_keep(keep)).numpy()
    widths: dict[str, int] = {}
    for _, module, _, rows, _ in graph.layer_terms():
        if len(rows):
            widths.setdefault(module, int(gates[np.asarray(rows)].sum()))
    return widths


def histogram(
    shown: Distribution, keep: Optional[Tensor] = None
) -> dict[str, Any]:
    """Counts in bins of equal width.

    Args:
        shown (Distribution): Values of all units.
        keep (Tensor, optional): bool mask, shape ``(U, )``; with it, counts
            of kept and removed units stand apart.

    Examples:
        >>> values = torch.tensor([0.0, 1.0, 1.0])
        >>> sum(histogram(Distribution('z', values))['counts'])
        3
    """
    values = shown.values.detach().double().cpu()
    finite = values.isfinite()
    low, high = shown.bounds or _range(values[finite])
    found: dict[str, Any] = {
        'name': shown.name,
        'low': low,
        'high': high,
        'threshold': shown.threshold,
    }
    chosen = {'counts': finite}
    if keep is not None:
        keep = keep.cpu()
        chosen = {'kept': finite & keep, 'gone': finite & ~keep}
    for key, mask in chosen.items():
        counts = torch.histc(values[mask], BINS, low, high)
        found[key] = counts.long().tolist()
    return found


def _range(values: Tensor) -> tuple[float, float]:
    """From 0, if nothing is below it, to the largest value."""
    if not len(values):
        return 0.0, 1.0
    low, high = min(float(values.min()), 0.0), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def add_histogram(runner: Runner, shown: Distribution, step: int) -> None:
    """Add values to TensorBoard, if the Runner's visualizer writes to it."""
    for backend in runner.visualizer._vis_backends.values():
        if isinstance(backend, TensorboardVisBackend):
            backend.experiment.add_histogram(
                f'search/{shown.name}', shown.values.detach().cpu(), step
            )


def _finite(tree: Any) -> Any:
    """A tree of plain values in which NaN and infinity are None."""
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_finite(value) for value in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return None
    return tree
