"""List the channel groups of a config's model, and what is frozen and why.

Tells the share of every group in MACs (multiply-accumulates of one input) and
parameters, what would help where a layer keeps its width, and the range of
targets that can be reached. With --checkpoint the model has the widths of a
checkpoint, pruned or not. Exits with 1 if nothing can be pruned.
"""

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        'config',
        help='any OpenMMLab config: a file, or one that a library ships, '
        'such as mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
    )
    parser.add_argument(
        '--checkpoint',
        metavar='PATH',
        help='take widths and weights from this checkpoint of the '
        "config's architecture; the table then tells how many units of "
        'the config are left',
    )
    parser.add_argument(
        '--input-shape',
        nargs='+',
        type=int,
        metavar='N',
        help='one input without the batch axis in pixels, such as 3 224 224 '
        "(default: the pruner's if the config has one, else what the "
        "config's pipelines tell)",
    )
    parser.add_argument(
        '--exclude',
        nargs='+',
        default=(),
        metavar='PATTERN',
        help='name patterns of modules whose output channels stay, beside '
        "the pruner's (default: none)",
    )
    parser.add_argument(
        '--members', action='store_true', help='list what is cut, by group'
    )
    parser.add_argument('--json', metavar='OUT', help='write it as JSON, too')


def run(args: argparse.Namespace) -> int:
    """Trace and print."""
    from mmdhp.apis import inspect_config, inspection_text

    from .common import check_checkpoint

    if args.checkpoint:
        check_checkpoint(args.checkpoint)
    found = inspect_config(
        args.config, args.checkpoint, args.input_shape, args.exclude
    )
    print(inspection_text(found, args.members))
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as file:
            json.dump(found, file, indent=2)
    return 0 if found['groups'] else 1
