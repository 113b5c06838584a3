"""Options that several commands have; imports nothing that takes long."""

import argparse
from collections.abc import Callable


def parse_target(text: str) -> dict[str, float]:
    """Read what is to be left: ``0.5``, or ``macs=0.5,params=0.6``.

    Args:
        text (str): A number is a fraction of the MACs.

    Raises:
        ArgumentTypeError: If a part is no fraction in (0, 1].

    Examples:
        >>> parse_target('0.5'), parse_target('params=0.4')
        ({'macs': 0.5}, {'params': 0.4})
    """
    target = {}
    for part in text.split(','):
        quantity, _, ratio = part.rpartition('=')
        try:
            value = float(ratio)
        except ValueError:
            value = float('nan')
        if not 0 < value <= 1:
            raise argparse.ArgumentTypeError(
                f'{part!r} is no fraction that is left, in (0, 1]. Write 0.5 '
                'for half of the MACs, or a quantity with it: params=0.5.'
            )
        target[quantity.strip() or 'macs'] = value
    return target


def parse_at_least(lowest: int) -> Callable[[str], int]:
    """A type for whole numbers of at least ``lowest``.

    Args:
        lowest (int): Smallest number that is accepted.
    """

    def parse(text: str) -> int:
        if not text.isdigit() or int(text) < lowest:
            raise argparse.ArgumentTypeError(
                f'{text!r} is no whole number of at least {lowest}'
            )
        return int(text)

    return parse


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add ``--target`` and what goes with it."""
    parser.add_argument(
        '--target',
        required=True,
        type=parse_target,
        metavar='FRACTION',
        help='what is left of the network: 0.5 for half of its MACs '
        '(multiply-accumulates of one input), or QUANTITY=FRACTION such as '
        'params=0.4; `mmdhp inspect` tells the range that can be reached',
    )
    parser.add_argument(
        '--divisor',
        type=parse_at_least(1),
        default=1,
        metavar='N',
        help='kept channels of every group are a multiple of it; 8 suits '
        'most hardware (default: 1)',
    )


def add_input_shape(parser: argparse.ArgumentParser) -> None:
    """Add ``--input-shape``."""
    parser.add_argument(
        '--input-shape',
        nargs='+',
        type=parse_at_least(1),
        metavar='N',
        help='one input without the batch axis, in channels and pixels, such '
        "as 3 224 224; costs are counted at it (default: the pruner's if the "
        "config has one, else what the config's pipelines tell)",
    )
