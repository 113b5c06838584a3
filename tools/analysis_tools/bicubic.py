#!/usr/bin/env python
"""Measure what needs no network, with the data and measures of a config.

Super-resolution: MATLAB's bicubic interpolation. Denoising: the noisy image
itself. The published bicubic figures at x4, PSNR of the luma behind a border
of 4 pixels, check a whole measuring chain: Set5 28.42, Set14 26.00, B100
25.96 dB.

Examples:
    ``python tools/analysis_tools/bicubic.py
    configs/srresnet/srresnet_x4_baseline.py``
"""

import argparse
import os.path as osp
import sys

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor, nn

sys.path.insert(0, osp.dirname(osp.dirname(osp.abspath(__file__))))

from _measuring import CostHook, by_benchmark, number

from mmdhp.cli.common import (
    add_common_options,
    check_dataloader,
    clear_errors,
    load_config,
)
from mmdhp.datasets import imresize
from mmdhp.text import table


class Interpolation(nn.Module):
    """Stands in for a generator: enlarges 8-bit images as MATLAB does.

    Args:
        scale (int): Spatial scale; 1 returns the input.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge ``(N, C, H, W)`` in [0, 1] to ``(N, C, s * H, s * W)``."""
        if self.scale == 1:
            return x
        images = x.mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        large = np.stack([imresize(image, self.scale) for image in images])
        return torch.from_numpy(large).permute(0, 3, 1, 2).to(x) / 255


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        'config', help='config of a super-resolution or denoising network'
    )
    parser.add_argument(
        '--only',
        nargs='+',
        metavar='BENCHMARK',
        help='test these of the benchmarks, such as Set5 (default: all)',
    )
    add_common_options(parser)
    return parser.parse_args()


def select(cfg: Config, wanted: list[str]) -> None:
    """Keep the test sets whose measures have these prefixes, in place."""
    prefixes = [e['metrics'][0].get('prefix') for e in cfg.test_evaluator]
    unknown = [name for name in wanted if name not in prefixes]
    if unknown:
        raise SystemExit(
            f'error: the config tests {prefixes}, so there is no '
            f'{", ".join(unknown)}.'
        )
    chosen = [prefixes.index(name) for name in wanted]
    cfg.test_dataloader = [cfg.test_dataloader[i] for i in chosen]
    cfg.test_evaluator = [cfg.test_evaluator[i] for i in chosen]


def measure(cfg: Config) -> dict[str, dict[str, float]]:
    """Test with an interpolation in place of the network.

    Returns:
        dict: Measures by benchmark.
    """
    scale = cfg.model.generator.get('upscale_factor', 1)
    cfg.load_from = None
    cfg.resume = False
    cfg.custom_hooks = []
    runner = Runner.from_cfg(cfg)
    runner.model.generator = Interpolation(scale)
    hook = CostHook()
    runner.register_hook(hook)
    runner.test()
    return by_benchmark(hook.metrics)


def main() -> None:
    """Measure and print."""
    args = parse_args()
    cfg = load_config(args)
    if args.only:
        select(cfg, args.only)
    check_dataloader(cfg, 'test_dataloader', 'test')
    with clear_errors():
        found = measure(cfg)
    kinds = list(dict.fromkeys(k for m in found.values() for k in m))
    rows = [
        [name, *(number(measures[k], k) for k in kinds)]
        for name, measures in found.items()
    ]
    print(table(rows, ['benchmark', *kinds]))


if __name__ == '__main__':
    main()
