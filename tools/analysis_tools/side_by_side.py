#!/usr/bin/env python
"""Draw input, original network, pruned network and ground truth of one image.

With PSNR, the MACs of this very image and the time of the network on it; a
detail of all four, and where it lies.

Examples:
    ``python tools/analysis_tools/side_by_side.py --image Set5/butterfly
    --original configs/srresnet/srresnet_x4_baseline.py BASELINE.pth
    --pruned RUN/pruned/pruned_config.py RUN/pruned/pruned.pth``
"""

import argparse
import os.path as osp
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import METRICS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, osp.dirname(osp.dirname(osp.abspath(__file__))))

from _measuring import network_of, to_image

import mmdhp
from mmdhp.cli.common import (
    add_common_options,
    check_checkpoint,
    check_dataloader,
    clear_errors,
    load_config,
)
from mmdhp.datasets import imresize
from mmdhp.engine.latency import latencies
from mmdhp.engine.report import amount
from mmdhp.models.model_forward import run_model

ROLES = ('original', 'pruned')


@dataclass
class Panel:
    """One image of the picture.

    Attributes:
        title (str): What it is.
        image (np.ndarray): ``(H, W)`` or ``(H, W, 3)``, 8 bits.
        text (str): Figures below it.
    """

    title: str
    image: np.ndarray
    text: str = ''


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for role in ROLES:
        parser.add_argument(
            f'--{role}',
            nargs=2,
            required=True,
            metavar=('CONFIG', 'CHECKPOINT'),
        )
    parser.add_argument(
        '--image',
        default='',
        help='BENCHMARK/NAME or BENCHMARK of the test data of the original\n'
        '(default: the first image of the first benchmark)',
    )
    parser.add_argument(
        '--crop',
        type=int,
        nargs=4,
        metavar=('LEFT', 'TOP', 'WIDTH', 'HEIGHT'),
        help='detail in pixels (default: where the image has most of it)',
    )
    parser.add_argument('--rounds', type=int, default=5, help='of timing (5)')
    parser.add_argument('--out', default='side_by_side.png')
    add_common_options(parser)
    return parser.parse_args()


def open_run(args: argparse.Namespace, role: str) -> Runner:
    """Build a network and load its weights."""
    config, checkpoint = getattr(args, role)
    check_checkpoint(checkpoint)
    own = argparse.Namespace(**{**vars(args), 'config': config})
    cfg = load_config(own)
    check_dataloader(cfg, 'test_dataloader', 'draw')
    cfg.load_from = checkpoint
    cfg.resume = False
    cfg.experiment_name = f'side_by_side_{role}'
    runner = Runner.from_cfg(cfg)
    runner.load_or_resume()
    runner.model.eval()
    return runner


def find_image(runner: Runner, wanted: str) -> tuple[dict, Any]:
    """A sample of the test data, and the PSNR of its benchmark.

    Args:
        runner (Runner): Of the original network.
        wanted (str): ``BENCHMARK/NAME``, ``BENCHMARK`` or nothing.
    """
    loop = runner.test_loop
    loaders = getattr(loop, 'dataloaders', None) or [loop.dataloader]
    configs = runner.cfg.test_evaluator
    configs = configs if isinstance(configs, list) else [configs]
    metrics = [_psnr(config) for config in configs]
    benchmark, _, name = wanted.partition('/')
    names = [metric.prefix or 'test' for metric in metrics]
    if benchmark and benchmark not in names:
        raise SystemExit(
            f'error: there is no benchmark {benchmark}; the config tests '
            f'{", ".join(names)}.'
        )
    index = names.index(benchmark) if benchmark else 0
    dataset = loaders[index].dataset
    found = {
        osp.splitext(osp.basename(dataset.get_data_info(i)['gt_path']))[0]: i
        for i in range(len(dataset))
    }
    if name and name not in found:
        raise SystemExit(
            f'error: {names[index]} has no image {name}, but {len(found)} '
            f'others: {", ".join(sorted(found)[:8])}.'
        )
    return dataset[found[name or min(found)]], metrics[index]


def _psnr(evaluator: dict) -> Any:
    """The PSNR of an evaluator."""
    for metric in evaluator['metrics']:
        if metric['type'].rpartition('.')[2] == 'PSNR':
            return METRICS.build(metric)
    raise SystemExit(
        f'error: {[m["type"] for m in evaluator["metrics"]]} has no PSNR; '
        'side_by_side.py draws super-resolution and denoising.'
    )


@torch.no_grad()
def restore(model: nn.Module, sample: dict) -> tuple[Any, Tensor]:
    """Run a model on a sample.

    Returns:
        tuple: MMagic's data sample with the output, and what the network
        got, of shape ``(1, C, h, w)``.
    """
    seen: list[Tensor] = []
    handle = network_of(model).register_forward_pre_hook(
        lambda module, args: seen.append(args[0])
    )
    try:
        (result,) = model.test_step(pseudo_collate([sample]))
    finally:
        handle.remove()
    return result, seen[0]


def quality(metric: Any, image: Tensor, truth: Tensor) -> float:
    """PSNR of one image, both ``(C, H, W)`` and blue first."""
    metric.results.clear()
    sample = {'gt_img': truth, 'output': {'pred_img': image}}
    metric.process(None, [sample])
    return metric.results.pop()


def macs_of(model: nn.Module, inputs: Tensor) -> int:
    """MACs of convs and linear layers for an input."""
    batch = torch.zeros(2, *inputs.shape[1:], device=inputs.device)
    return int(mmdhp.trace(model, batch, forward=run_model).macs())


def detail_of(image: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, width and height of where an image varies most.

    Args:
        image (np.ndarray): ``(H, W)`` or ``(H, W, 3)``.
    """
    gray = torch.from_numpy(np.atleast_3d(image).mean(axis=2))[None, None]
    height, width = gray.shape[-2:]
    size = min(max(min(height, width) // 4, 32), height, width)
    mean = F.avg_pool2d(gray, size, stride=1)
    variance = F.avg_pool2d(gray**2, size, stride=1) - mean**2
    top, left = divmod(int(variance.argmax()), variance.shape[-1])
    return left, top, size, size


def make_panels(
    runners: Sequence[Runner], wanted: str, rounds: int
) -> list[Panel]:
    """Restore the image by both networks and measure."""
    sample, metric = find_image(runners[0], wanted)
    found = [restore(runner.model, sample) for runner in runners]
    networks = [network_of(runner.model) for runner in runners]
    times = latencies(networks, found[0][1], rounds)
    truth = found[0][0].gt_img
    panels = [input_panel(found[0][0], truth, metric)]
    for role, runner, (result, inputs), ms in zip(
        ROLES, runners, found, times
    ):
        restored = result.output.pred_img
        text = (
            f'{quality(metric, restored, truth):.2f} dB\n'
            f'{amount(macs_of(runner.model, inputs))}MACs, {ms:.1f} ms'
        )
        panels.append(Panel(role, np.asarray(to_image(restored)), text))
    panels.append(Panel('ground truth', np.asarray(to_image(truth))))
    return panels


def input_panel(result: Any, truth: Tensor, metric: Any) -> Panel:
    """What the networks got; enlarged by MATLAB's bicubic operator."""
    image = np.asarray(to_image(result.input))
    scale = truth.shape[-2] // image.shape[0]
    if scale == 1:
        image = image[: truth.shape[-2], : truth.shape[-1]]
    else:
        image = imresize(image, scale)
    blue_first = torch.from_numpy(np.atleast_3d(image).copy())
    blue_first = blue_first.permute(2, 0, 1).flip(0)
    text = f'{quality(metric, blue_first, truth):.2f} dB'
    return Panel('input' if scale == 1 else f'bicubic x{scale}', image, text)


def draw(
    panels: Sequence[Panel], crop: tuple[int, int, int, int], path: str
) -> None:
    """Write the picture: the whole image with a frame, then four details."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import patches, pyplot

    left, top, width, height = crop
    figure, axes = pyplot.subplots(
        1, len(panels) + 1, figsize=(3 * len(panels) + 3, 3.8)
    )
    whole = panels[-1].image
    axes[0].imshow(whole, cmap='gray', vmin=0, vmax=255)
    axes[0].add_patch(
        patches.Rectangle(
            (left, top), width, height, fill=False, edgecolor='red'
        )
    )
    for axis, panel in zip(axes[1:], panels):
        detail = panel.image[top : top + height, left : left + width]
        axis.imshow(
            detail, cmap='gray', vmin=0, vmax=255, interpolation='nearest'
        )
        axis.set_title(panel.title)
        axis.set_xlabel(panel.text)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def checked_crop(
    crop: Optional[Sequence[int]], image: np.ndarray
) -> tuple[int, int, int, int]:
    """The detail asked for, or the one that is chosen."""
    if not crop:
        return detail_of(image)
    left, top, width, height = crop
    rows, columns = image.shape[:2]
    inside = 0 <= left < left + width <= columns
    if not inside or not 0 <= top < top + height <= rows:
        raise SystemExit(
            f'error: --crop {left} {top} {width} {height} does not lie in '
            f'the image of {columns}x{rows} pixels.'
        )
    return left, top, width, height


def main() -> None:
    """Restore, measure, draw."""
    args = parse_args()
    with clear_errors():
        runners = [open_run(args, role) for role in ROLES]
        panels = make_panels(runners, args.image, args.rounds)
    crop = checked_crop(args.crop, panels[-1].image)
    draw(panels, crop, args.out)
    for panel in panels[:-1]:
        print(f'{panel.title}: {panel.text}'.replace('\n', ', '))
    print(f'Written: {args.out} (detail at {crop})')


if __name__ == '__main__':
    main()
