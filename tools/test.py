#!/usr/bin/env python
"""Test a checkpoint of any OpenMMLab config, pruned or not."""

import argparse
import os.path as osp

from _measuring import (
    PAPER_SIZE,
    CostHook,
    SaveImagesHook,
    costs,
    result_text,
)
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.fileio import dump
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmdhp.cli.common import (
    add_common_options,
    check_checkpoint,
    check_dataloader,
    clear_errors,
    load_config,
    prepare_processes,
)


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
    parser.add_argument(
        '--shape',
        type=int,
        nargs=3,
        metavar=('C', 'H', 'W'),
        help='input at which the MACs of a restoration network are counted '
        f'(default: {PAPER_SIZE}x{PAPER_SIZE} pixels, as in the papers)',
    )
    add_common_options(parser)
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out is {args.out}, but must end in .pkl or .pickle')
    return args


def restores_images(cfg: Config) -> bool:
    """Whether the model turns images into images, as MMagic's do."""
    return cfg.get('default_scope') == 'mmagic'


def show_results(cfg: Config, show_dir: str) -> None:
    """Let a model that recognises things draw its results, in place."""
    hook = cfg.setdefault('default_hooks', {}).setdefault(
        'visualization', dict(type='VisualizationHook')
    )
    hook.update(enable=True, draw=True, out_dir=show_dir)


def build_runner(cfg: Config, args: argparse.Namespace) -> Runner:
    """The runner, with all that the options ask for."""
    if args.show_dir and not restores_images(cfg):
        show_results(cfg, args.show_dir)
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = Runner.from_cfg(cfg)
    if args.out and not restores_images(cfg):
        runner.test_evaluator.metrics.append(
            DumpResults(out_file_path=args.out)
        )
    if args.show_dir and restores_images(cfg):
        folder = osp.join(runner.work_dir, args.show_dir)
        runner.register_hook(SaveImagesHook(folder))
    return runner


def test_restoration(runner: Runner, args: argparse.Namespace) -> None:
    """Test; print the papers' table row: measures, MACs, time, memory."""
    hook = CostHook()
    runner.register_hook(hook)
    runner.test()
    if not is_main_process():
        return
    shape = tuple(args.shape or (hook.channels, PAPER_SIZE, PAPER_SIZE))
    macs, params = costs(runner.model, shape)
    name = osp.splitext(osp.basename(args.config))[0]
    text = result_text(hook, name, macs, params, 'x'.join(map(str, shape)))
    print(f'\n{text}')
    if args.out:
        results = dict(metrics=hook.metrics, times=hook.times, macs=macs)
        dump({**results, 'params': params, 'memory': hook.memory}, args.out)


def main() -> None:
    """Test."""
    args = parse_args()
    cfg = load_config(args)
    check_dataloader(cfg, 'test_dataloader', 'test')
    check_checkpoint(args.checkpoint)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    prepare_processes(cfg)
    with clear_errors():
        runner = build_runner(cfg, args)
        if restores_images(cfg):
            test_restoration(runner, args)
        else:
            runner.test()


if __name__ == '__main__':
    main()
