"""Write a pruning config for any OpenMMLab config.

The new config inherits from the given one; only what pruning needs is in it,
with comments. It is built, traced and selected from at once, so it trains as
it is:  mmdhp train OUT
"""

import argparse

from .options import add_input_shape, add_target

METHODS = ('dhp', 'hsn', 'lwdna', 'oneshot')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        'config',
        help='what trains the network without pruning: a file, or a config '
        'that a library ships, such as '
        'mmpretrain::resnet/resnet50_8xb32_in1k.py',
    )
    parser.add_argument(
        '--method',
        choices=METHODS,
        default='dhp',
        help='dhp and lwdna train from scratch; hsn and oneshot prune a '
        'trained network (default: dhp)',
    )
    add_target(parser)
    parser.add_argument(
        '-o', '--out', required=True, metavar='FILE', help='the new config'
    )
    parser.add_argument(
        '--checkpoint',
        metavar='PATH',
        help='weights of the trained network for hsn and oneshot, file or '
        'URL (default: those that the library releases for the config)',
    )
    add_input_shape(parser)
    parser.add_argument(
        '--force', action='store_true', help='replace an existing file'
    )


def run(args: argparse.Namespace) -> None:
    """Write, try and tell."""
    from mmdhp.apis import write_config

    from .common import check_checkpoint

    if args.checkpoint:
        check_checkpoint(args.checkpoint)
    made = write_config(
        args.config,
        args.method,
        args.target,
        args.out,
        checkpoint=args.checkpoint,
        input_shape=args.input_shape,
        divisor=args.divisor,
        force=args.force,
    )
    print(
        f'{made.path} prunes {made.groups} groups; costs are counted at '
        f'{made.input_shape.shape} ({made.input_shape.source}).\n'
        f'Tried: a first selection leaves {made.macs:.2%} of the MACs and '
        f'{made.params:.2%} of the parameters.'
    )
    if made.load_from:
        print(f'It starts from {made.load_from}.')
    print(f'Next: mmdhp train {made.path}')
