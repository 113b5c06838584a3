#!/usr/bin/env python
"""Test a checkpoint of any OpenMMLab config, pruned or not."""

import argparse

from _common import (
    add_common_options,
    check_checkpoint,
    check_dataloader,
    clear_errors,
    load_config,
    prepare_processes,
)
from mmengine.evaluator import DumpResults
from mmengine.registry import RUNNERS
from mmengine.runner import Runner


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint', help='checkpoint of any state: search, fine-tune, pruned'
    )
    parser.add_argument('--out', help='write all results to this .pkl file')
    parser.add_argument(
        '--show-dir', help='draw results into this folder of the work folder'
    )
    add_common_options(parser)
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out is {args.out}, but must end in .pkl or .pickle')
    return args


def main() -> None:
    """Test."""
    args = parse_args()
    cfg = load_config(args)
    check_dataloader(cfg, 'test_dataloader', 'test')
    check_checkpoint(args.checkpoint)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    prepare_processes(cfg)
    if args.show_dir:
        hook = cfg.setdefault('default_hooks', {}).setdefault(
            'visualization', dict(type='VisualizationHook')
        )
        hook.update(enable=True, draw=True, out_dir=args.show_dir)
    with clear_errors():
        if 'runner_type' in cfg:
            runner = RUNNERS.build(cfg)
        else:
            runner = Runner.from_cfg(cfg)
        if args.out:
            runner.test_evaluator.metrics.append(
                DumpResults(out_file_path=args.out)
            )
        runner.test()


if __name__ == '__main__':
    main()
