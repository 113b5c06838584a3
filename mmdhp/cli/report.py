"""Make a page with the pictures and tables of a run.

The page is one file that opens in any browser, without a network; its
figures are written beside it as PNG. Works while a run is still training.

Examples:
    mmdhp report work_dirs/resnet56_dhp50
    mmdhp report work_dirs/srresnet_dhp40 --original BASELINE.pth
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command, in place."""
    parser.add_argument(
        'work_dir', metavar='WORK_DIR', help='work folder of a run'
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder for index.html and the PNG files (default: '
        'WORK_DIR/report)',
    )
    parser.add_argument(
        '--rounds',
        type=int,
        default=15,
        help='timed forward passes of the original and the pruned network; '
        '0 measures neither latency nor memory (default: 15)',
    )
    parser.add_argument(
        '--published',
        nargs=2,
        metavar=('NETWORK', 'DATA'),
        help='figures of papers to stand beside, for example ResNet-56 '
        'CIFAR-10 (default: those of the network and data in the config)',
    )
    parser.add_argument(
        '--original',
        metavar='CHECKPOINT',
        help='weights of the original restoration network, whose image is '
        'shown beside that of the pruned one',
    )
    parser.add_argument(
        '--image',
        default='',
        metavar='BENCHMARK/NAME',
        help='image of the test data to restore (default: the first)',
    )


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    from mmdhp.report import Options, write_report

    published = tuple(args.published) if args.published else None
    options = Options(args.rounds, published, args.original, args.image)
    page = write_report(args.work_dir, args.out, options)
    print(f'Report: {page}')  # noqa: T201
    return 0
