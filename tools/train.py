#!/usr/bin/env python
"""Train any OpenMMLab config; with a pruner in it, search, cut, fine-tune."""

import argparse

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmdhp.checkpoints.checkpoint_file import resume_point
from mmdhp.cli.common import (
    add_common_options,
    check_checkpoint,
    check_dataloader,
    clear_errors,
    load_config,
    prepare_processes,
)

AMP_TYPES = {
    'OptimWrapper': 'AmpOptimWrapper',
    'mmdhp.PruningOptimWrapper': 'mmdhp.PruningAmpOptimWrapper',
}


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue: from the last checkpoint in the work folder (auto, '
        'the default), or from the given file',
    )
    parser.add_argument(
        '--amp', action='store_true', help='automatic mixed precision'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the total batch size',
    )
    add_common_options(parser)
    return parser.parse_args()


def apply_options(cfg: Config, args: argparse.Namespace) -> None:
    """Write --amp, --auto-scale-lr and --resume into the config, in place."""
    if args.amp:
        kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if kind not in {*AMP_TYPES, *AMP_TYPES.values()}:
            raise SystemExit(
                f'error: --amp does not know optim_wrapper type {kind!r}; it '
                f'replaces {", ".join(AMP_TYPES)}.'
            )
        cfg.optim_wrapper.type = AMP_TYPES.get(kind, kind)
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if cfg.get('auto_scale_lr', {}).get('base_batch_size') is None:
            raise SystemExit(
                'error: --auto-scale-lr needs auto_scale_lr='
                'dict(base_batch_size=N) in the config.'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume:
        cfg.resume = True
        if args.resume != 'auto':
            cfg.load_from = args.resume


def find_checkpoint(cfg: Config, latest: bool) -> None:
    """Find what to start or continue from, and check it; in place.

    Args:
        cfg (Config): Its ``resume`` and ``load_from`` say what is wanted.
        latest (bool): Whether the command line wants the last checkpoint. A
            run that has not saved any starts as it did the first time.
    """
    if latest or (cfg.get('resume') and cfg.get('load_from') is None):
        with clear_errors():
            found = resume_point(cfg.work_dir)
        cfg.resume = found is not None
        if found is None:
            print(f'No checkpoint in {cfg.work_dir}: starting anew.')
        else:
            cfg.load_from = found
    if cfg.get('load_from') is not None:
        check_checkpoint(cfg.load_from)


def main() -> None:
    """Train."""
    args = parse_args()
    cfg = load_config(args)
    for key in ('train_cfg', 'optim_wrapper', 'model'):
        if not cfg.get(key):
            raise SystemExit(f'error: {args.config} has no {key}.')
    apply_options(cfg, args)
    check_dataloader(cfg, 'train_dataloader', 'train')
    if cfg.get('val_cfg') is not None:
        check_dataloader(cfg, 'val_dataloader', 'validate')
    find_checkpoint(cfg, args.resume == 'auto')
    prepare_processes(cfg)
    with clear_errors():
        if 'runner_type' in cfg:
            RUNNERS.build(cfg).train()
        else:
            Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    main()
