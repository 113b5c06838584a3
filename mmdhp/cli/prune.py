"""Prune a trained checkpoint at once, without training.

Writes OUT/pruned/, the same folder that a training run exports, and
OUT/fine_tune.py, which trains the smaller network further. BatchNorm
statistics are estimated anew where the config's training data are there.
"""

import argparse
import os.path as osp

from .options import add_input_shape, add_target, parse_at_least

CRITERIA = ('l1', 'l2', 'bn', 'taylor', 'random')
BATCHES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        'config', help='what the network was trained with: file or LIB::PATH'
    )
    parser.add_argument('checkpoint', help='its weights: file or URL')
    add_target(parser)
    parser.add_argument(
        '--criterion',
        choices=CRITERIA,
        default='l1',
        help='importance of a channel: norm of its filters (l1, l2), its norm '
        'scale (bn), the change of the loss (taylor; needs training data), '
        'or none (random) (default: l1)',
    )
    parser.add_argument(
        '--scope',
        choices=('uniform', 'global'),
        default='uniform',
        help='whether every group loses the same fraction, or one threshold '
        'holds for all (default: uniform)',
    )
    parser.add_argument(
        '--exclude',
        nargs='+',
        default=(),
        metavar='PATTERN',
        help='name patterns of modules whose output channels stay '
        '(default: none)',
    )
    parser.add_argument(
        '--calibrate',
        type=parse_at_least(0),
        metavar='N',
        help='training batches for the BatchNorm statistics, 0 for none '
        f'(default: {BATCHES} if the data are there)',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder (default: work_dirs/CONFIG_oneshotPERCENT)',
    )
    add_input_shape(parser)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override entries of the config, such as '
        'train_dataloader.dataset.data_root=PATH',
    )


def run(args: argparse.Namespace) -> None:
    """Prune and tell."""
    from mmdhp.apis import prune_checkpoint

    from .common import check_checkpoint, parse_changes

    check_checkpoint(args.checkpoint)
    changes = parse_changes(args.cfg_options)
    out = args.out or _default_folder(args)
    _check_folder(out)
    calibrate = _batches(args, changes)
    made = prune_checkpoint(
        args.config,
        args.checkpoint,
        args.target,
        out,
        input_shape=args.input_shape,
        calibrate=calibrate,
        changes=changes,
        criterion=args.criterion,
        scope=args.scope,
        divisor=args.divisor,
        **({'exclude': args.exclude} if args.exclude else {}),
    )
    print(made.table)
    print(
        f'Counted at {made.input_shape.shape} ({made.input_shape.source}). '
        f'Masked against shrunk output: {made.difference:.1e}.'
    )
    if made.batches:
        print(f'BatchNorm statistics are from {made.batches} batches.')
    print(
        f'\nPruned model: {made.folder}\nNext:\n'
        f'  mmdhp test {made.folder}/pruned_config.py '
        f'{made.folder}/pruned.pth\n'
        f'  mmdhp train {made.fine_tune}'
    )


def _default_folder(args: argparse.Namespace) -> str:
    stem = osp.splitext(osp.basename(args.config.rpartition('::')[2]))[0]
    percent = round(100 * next(iter(args.target.values())))
    return osp.join('work_dirs', f'{stem}_oneshot{percent}')


def _check_folder(out: str) -> None:
    """Refuse to replace what is no exported model."""
    pruned = osp.join(out, 'pruned')
    exported = osp.isfile(osp.join(pruned, 'channels.json'))
    if osp.exists(pruned) and not exported:
        raise FileExistsError(
            f'{pruned} exists and is no exported model, so it is not '
            'replaced. Choose another --out.'
        )


def _batches(args: argparse.Namespace, changes: dict) -> int:
    """Calibration batches; says so where the data are not there."""
    from mmdhp.apis import read_config

    from .common import check_dataloader, missing_path

    cfg = read_config(args.config)
    cfg.merge_from_dict(changes)
    if args.criterion == 'taylor':
        check_dataloader(cfg, 'train_dataloader', 'measure gradients')
    if args.calibrate:
        check_dataloader(cfg, 'train_dataloader', 'calibrate')
    if args.calibrate is not None:
        return int(args.calibrate)
    loader = cfg.get('train_dataloader')
    missing = None
    if loader:  # nothing is downloaded for this
        missing = missing_path({**loader.get('dataset'), 'download': False})
        if missing is None:
            return BATCHES
    print(
        'BatchNorm statistics are not estimated anew: '
        f'{f"{missing} is not here" if loader else "no train_dataloader"}. '
        'Fine-tuning does so, too.'
    )
    return 0
