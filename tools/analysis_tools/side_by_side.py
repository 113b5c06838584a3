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
from collections.abc import Sequence
from typing import Optional

import numpy as np
from mmengine.runner import Runner

from mmdhp.cli.common import (
    add_common_options,
    check_checkpoint,
    check_dataloader,
    clear_errors,
    load_config,
)
from mmdhp.report.restoration import (
    detail_of,
    draw_panels,
    find_image,
    make_panels,
)

ROLES = ('original', 'pruned')


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
        runners = {role: open_run(args, role) for role in ROLES}
        sample, metric = find_image(runners['original'].cfg, args.image)
        models = {role: runner.model for role, runner in runners.items()}
        panels = make_panels(models, sample, metric, args.rounds)
    crop = checked_crop(args.crop, panels[-1].image)
    draw_panels(panels, crop, args.out)
    for panel in panels[:-1]:
        print(f'{panel.title}: {panel.text}'.replace('\n', ', '))
    print(f'Written: {args.out} (detail at {crop})')


if __name__ == '__main__':
    main()
