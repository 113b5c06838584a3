#!/usr/bin/env python
"""Prune a small super-resolution network on real photographs, on the CPU.

Trains SRResNet x4 at its original size and by DHP at 40 % of the MACs on
photographs that scikit-image ships, then compares both with bicubic
interpolation on photographs that neither has seen.
"""

import argparse
import glob
import json
import os.path as osp
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image
from torch import nn

import mmdhp
from mmdhp.costs.timing import latencies
from mmdhp.datasets import imresize
from mmdhp.models.model_forward import run_model
from mmdhp.registry import METRICS
from mmdhp.text import amount, table

ROOT = osp.dirname(osp.dirname(osp.abspath(__file__)))
DATA = osp.join(ROOT, 'data', 'sample_sr')
BASELINE = 'configs/srresnet/srresnet_x4_sample.py'
PRUNED = 'configs/dhp/srresnet_dhp40_sample.py'
LATENCY_INPUT = (1, 3, 96, 96)


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir',
        default=osp.join(ROOT, 'work_dirs', 'demo'),
        help='folder for logs, checkpoints and the pruned model',
    )
    parser.add_argument(
        '--iters',
        type=int,
        help="train for fewer iterations than the configs' 1500 (search: 40 "
        '%% of it); below 1000 the networks lose against bicubic',
    )
    return parser.parse_args()


def run(tool: str, *arguments: str) -> None:
    """Run a tool of this project, its output shown."""
    command = [sys.executable, osp.join('tools', tool), *arguments]
    print('\n$ python ' + ' '.join(command[1:]), flush=True)
    code = subprocess.call(command, cwd=ROOT)
    if code:
        raise SystemExit(code)


def train(config: str, work_dir: str, iters: Optional[int]) -> float:
    """Train a config from the start; return its seconds."""
    shutil.rmtree(work_dir, ignore_errors=True)
    extra = []
    if iters:
        extra = [
            '--cfg-options',
            f'train_cfg.max_iters={iters}',
            f'param_scheduler.milestones=[{2 * iters // 3}]',
        ]
        if config == PRUNED:
            search = max(2 * iters // 5, 1)
            extra.append(f'custom_hooks.0.search.max_iters={search}')
    start = time.monotonic()
    run('train.py', config, '--work-dir', work_dir, *extra)
    return time.monotonic() - start


class MetricsListener(Hook):
    """Keeps what a test loop measured; MMagic's returns nothing."""

    metrics: dict[str, float]

    def after_test_epoch(
        self, runner: Runner, metrics: Optional[dict] = None
    ) -> None:
        """Strip prefixes: ``'sample/PSNR'`` is PSNR."""
        self.metrics = {
            key.rpartition('/')[2]: float(value)
            for key, value in (metrics or {}).items()
        }


def measure(
    config: str, checkpoint: str, work_dir: str
) -> tuple[dict[str, float], nn.Module]:
    """Test a checkpoint on the held-out photographs."""
    cfg = Config.fromfile(config)
    cfg.work_dir = osp.join(work_dir, 'test')
    cfg.load_from = checkpoint
    cfg.log_level = 'WARNING'
    runner = Runner.from_cfg(cfg)
    listener = MetricsListener()
    runner.register_hook(listener)
    runner.test()
    return listener.metrics, runner.model.generator.eval()


def bicubic() -> dict[str, float]:
    """Bicubic x4 of the held-out photographs, measured as the networks."""
    cfg = Config.fromfile(osp.join(ROOT, BASELINE))
    metrics = [METRICS.build(metric) for metric in cfg.val_evaluator.metrics]
    for path in sorted(_photographs()):
        with Image.open(path) as image:
            truth = np.asarray(image.convert('RGB'))
        path = path.replace(osp.sep + 'HR', osp.sep + 'LR_bicubic_X4')
        with Image.open(path) as image:
            large = imresize(np.asarray(image.convert('RGB')), 4)
        sample = {
            'output': {'pred_img': to_tensor(large)},
            'gt_img': to_tensor(truth),
        }
        for metric in metrics:
            metric.process(None, [sample])
    found: dict[str, float] = {}
    for metric in metrics:
        found.update(metric.compute_metrics(metric.results))
    return found


def _photographs() -> list[str]:
    return glob.glob(osp.join(DATA, 'val', 'HR', '*.png'))


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """``(H, W, 3)`` bytes, red first, to ``(3, H, W)``, blue first."""
    return torch.from_numpy(image[..., ::-1].transpose(2, 0, 1).copy())


def main() -> None:
    """Run everything and print the table."""
    args = parse_args()
    folders = {
        name: osp.join(args.work_dir, name) for name in ('original', 'pruned')
    }
    run(osp.join('dataset_converters', 'prepare_sample.py'), '--out', DATA)
    seconds = {
        'original': train(BASELINE, folders['original'], args.iters),
        'pruned': train(PRUNED, folders['pruned'], args.iters),
    }
    exported = osp.join(folders['pruned'], 'pruned')
    with open(osp.join(folders['original'], 'last_checkpoint')) as file:
        checkpoint = osp.join(ROOT, file.read().strip())
    original, large = measure(
        osp.join(ROOT, BASELINE), checkpoint, folders['original']
    )
    pruned, small = measure(
        osp.join(exported, 'pruned_config.py'),
        osp.join(exported, 'pruned.pth'),
        folders['pruned'],
    )
    print_table(
        original,
        pruned,
        latencies([large, small], torch.rand(LATENCY_INPUT), run_model),
        exported,
    )
    print(
        f'\nTraining took {seconds["original"]:.0f} s (original) and '
        f'{seconds["pruned"]:.0f} s (search + fine-tune).\n'
        f'Pruned model: {osp.relpath(exported)}  (weights, config, '
        'channels.json; works without mmdhp)'
    )


def print_table(
    original: Mapping[str, float],
    pruned: Mapping[str, float],
    milliseconds: list[float],
    exported: str,
) -> None:
    """The comparison, a row per method."""
    with open(osp.join(exported, 'channels.json'), encoding='utf-8') as file:
        channels = json.load(file)
    macs, params = channels['macs'], channels['params']
    names = ['bicubic x4', 'SRResNet', 'SRResNet, DHP 40 %']
    quality = [bicubic(), original, pruned]
    costs = [
        (0, 0, 0),
        (macs['original'], params['original'], milliseconds[0]),
        (macs['pruned'], params['pruned'], milliseconds[1]),
    ]
    shape = 'x'.join(map(str, LATENCY_INPUT[2:]))
    lr = 'x'.join(map(str, channels['input_shape'][1:]))
    print(f'\nHeld-out photographs; MACs at {lr}, CPU latency at {shape}')
    rows = [
        [
            name,
            amount(mac) if mac else '-',
            amount(param) if param else '-',
            f'{measured["PSNR"]:.2f}',
            f'{measured["SSIM"]:.4f}',
            f'{ms:.1f}' if ms else '-',
        ]
        for name, measured, (mac, param, ms) in zip(names, quality, costs)
    ]
    print(table(rows, ['', 'MACs', 'params', 'PSNR-Y', 'SSIM-Y', 'ms']))
    print(
        f'pruned / original: MACs {macs["ratio"]:.3f}, params '
        f'{params["ratio"]:.3f}, latency '
        f'{milliseconds[1] / milliseconds[0]:.3f}'
    )


if __name__ == '__main__':
    print(f'mmdhp {mmdhp.__version__}')
    main()
