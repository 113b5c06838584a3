"""What a test of a restoration network tells besides its measures."""

import os
import os.path as osp
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, Optional

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

import mmdhp
from mmdhp.models.model_forward import run_model
from mmdhp.report.restoration import network_of, to_image
from mmdhp.text import amount, table

# On which benchmark the DHP paper measures time and memory.
TIMED = ('Urban100', 'BSD68')
PAPER_SIZE = 128  # at which it counts MACs
ALL_KINDS = ('weight', 'norm', 'act')


def benchmark_of(runner: Runner) -> str:
    """Name of the data set under test: the prefix of its measures."""
    metrics = runner.test_loop.evaluator.metrics or []
    names = [metric.prefix for metric in metrics if metric.prefix]
    return names[0] if names else 'test'


class CostHook(Hook):
    """Times every forward pass of the network in a test; notes memory.

    As in the DHP paper, the time is that of the network alone, image by
    image, without the first image of a benchmark; the memory is the most
    that was allocated. Loading, normalisation and measures do not count.

    Attributes:
        metrics (dict[str, float]): What the test measured.
        times (dict[str, list[float]]): Milliseconds by benchmark.
        memory (dict[str, float]): GiB by benchmark; on a CPU the most the
            process has ever used.
        channels (int): Channels of the network's input.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.times: dict[str, list[float]] = {}
        self.memory: dict[str, float] = {}
        self.channels = 0
        self._handles: list[Any] = []

    def before_test(self, runner: Runner) -> None:
        """Attach to the network."""
        network = network_of(runner.model)
        self._handles = [
            network.register_forward_pre_hook(self._start),
            network.register_forward_hook(self._stop),
        ]

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Note the benchmark that the next image belongs to."""
        self._benchmark = benchmark_of(runner)
        if self._benchmark not in self.times:
            self.times[self._benchmark] = []
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()

    def _start(self, network: nn.Module, args: tuple) -> None:
        if args and isinstance(args[0], torch.Tensor):
            self.channels = args[0].shape[1]
        _wait()
        self._started = time.perf_counter()

    def _stop(self, network: nn.Module, args: tuple, output: Any) -> None:
        _wait()
        elapsed = 1e3 * (time.perf_counter() - self._started)
        self.times[self._benchmark].append(elapsed)
        self.memory[self._benchmark] = _peak_memory()

    def after_test_epoch(
        self, runner: Runner, metrics: Optional[dict[str, float]] = None
    ) -> None:
        """Keep what was measured."""
        self.metrics = dict(metrics or {})

    def after_test(self, runner: Runner) -> None:
        """Detach."""
        for handle in self._handles:
            handle.remove()

    def milliseconds(self, benchmark: str) -> Optional[float]:
        """Mean time of an image; None of a benchmark of one image."""
        later = self.times[benchmark][1:]
        return statistics.fmean(later) if later else None


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == 'darwin' else 1024) / 2**30


class SaveImagesHook(Hook):
    """Writes every restored image as ``FOLDER/BENCHMARK/NAME.png``.

    Args:
        folder (str): Where.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @master_only
    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[Sequence[Any]] = None,
    ) -> None:
        """Write the images of a batch."""
        folder = osp.join(self.folder, benchmark_of(runner))
        os.makedirs(folder, exist_ok=True)
        for sample in outputs or []:
            name = osp.splitext(osp.basename(sample.metainfo['gt_path']))[0]
            to_image(sample.output.pred_img).save(
                osp.join(folder, f'{name}.png')
            )


def costs(
    model: nn.Module, shape: tuple[int, ...]
) -> tuple[dict[str, int], int]:
    """MACs, counted without and with norms and activations, and parameters.

    Args:
        model (nn.Module): Pruned or not.
        shape (tuple[int]): Of one input, without the batch.
    """
    if is_model_wrapper(model):
        model = model.module
    device = next(model.parameters()).device
    graph = mmdhp.trace(
        model, torch.zeros(2, *shape, device=device), forward=run_model
    )
    macs = {
        'conv, linear': int(graph.macs()),
        'with norms, activations': int(graph.macs(kinds=ALL_KINDS)),
    }
    return macs, sum(p.numel() for p in model.parameters())


def result_text(
    hook: CostHook, name: str, macs: dict[str, int], params: int, shape: str
) -> str:
    """Measures per benchmark, costs, and a row as in the papers' tables.

    Args:
        hook (CostHook): Behind a test.
        name (str): Of the network.
        macs (dict[str, int]): By what was counted.
        params (int): Number of parameters.
        shape (str): Of the input that the MACs are for.
    """
    measured = by_benchmark(hook.metrics)
    kinds = list(dict.fromkeys(k for m in measured.values() for k in m))
    rows = []
    for benchmark, times in hook.times.items():
        found = measured.get(benchmark, {})
        milliseconds = hook.milliseconds(benchmark)
        cells = [number(found[k], k) if k in found else '-' for k in kinds]
        rows.append(
            [
                benchmark,
                str(len(times)),
                *cells,
                f'{milliseconds:.2f}' if milliseconds is not None else '-',
                f'{hook.memory[benchmark]:.4f}',
            ]
        )
    header = ['benchmark', 'images', *kinds, 'ms/image', 'peak GiB']
    counted = '; '.join(f'{amount(n)} ({kind})' for kind, n in macs.items())
    lines = [
        table(rows, header),
        f'MACs at {shape}: {counted}. Parameters: {amount(params)}.',
    ]
    if not torch.cuda.is_available():
        lines.append('Without a GPU, peak GiB is that of the whole process.')
    lines.append(paper_row(hook, name, macs, params))
    return '\n'.join(lines)


def by_benchmark(metrics: dict[str, float]) -> dict[str, dict[str, float]]:
    """Group ``'Set5/PSNR'`` by benchmark, what has no prefix as 'test'."""
    found: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        benchmark, _, kind = key.rpartition('/')
        found.setdefault(benchmark or 'test', {})[kind] = float(value)
    return found


def number(value: float, kind: str) -> str:
    """A measure, with the digits that papers print."""
    return f'{value:.2f}' if kind == 'PSNR' else f'{value:.4f}'


def paper_row(
    hook: CostHook, name: str, macs: dict[str, int], params: int
) -> str:
    """PSNRs, MACs, parameters, time and memory as one row of Markdown."""
    measured = by_benchmark(hook.metrics)
    names = [b for b in hook.times if 'PSNR' in measured.get(b, {})]
    quality = '/'.join(f'{measured[b]["PSNR"]:.2f}' for b in names)
    timed = next((b for b in TIMED if b in hook.times), list(hook.times)[-1])
    milliseconds = hook.milliseconds(timed)
    cells = [
        name,
        quality,
        f'{list(macs.values())[-1] / 1e9:.2f}',
        f'{params / 1e6:.2f}',
        '-' if milliseconds is None else f'{milliseconds:.2f}',
        f'{hook.memory[timed]:.4f}',
    ]
    title = (
        f'| network | PSNR {"/".join(names)} | MACs G | params M '
        f'| ms ({timed}) | GiB |'
    )
    rule = '|---' * len(cells) + '|'
    return '\n'.join(['', title, rule, f'| {" | ".join(cells)} |'])
