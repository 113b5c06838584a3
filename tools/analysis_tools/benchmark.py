#!/usr/bin/env python
"""Measure speed and memory, each against what it is to be compared with.

What is compared takes turns in one run, so that a busy machine slows all of
it: trust ratios rather than times.
"""

import argparse
import sys
from typing import Any

from benchmarks import generation, growth, latency, search, trace

PARTS: dict[str, Any] = {
    'search': search,
    'generation': generation,
    'trace': trace,
    'latency': latency,
    'growth': growth,
}


def make_parser() -> argparse.ArgumentParser:
    """Command line of the tool: one command per part."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(title='what to measure', dest='part')
    for name, part in PARTS.items():
        own = commands.add_parser(
            name,
            help=part.__doc__.partition('\n')[0],
            description=part.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        part.add_arguments(own)
    return parser


def main() -> None:
    """Measure and print."""
    parser = make_parser()
    args = parser.parse_args()
    if args.part is None:
        parser.print_help()
        return
    PARTS[args.part].run(args)


if __name__ == '__main__':
    main()
    sys.exit(0)
