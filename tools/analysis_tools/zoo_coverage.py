#!/usr/bin/env python
"""Trace, prune and verify every architecture that the libraries ship.

Each is built once with random weights, traced, cut to a random half of its
channels, compared with the masked network, and its MACs are counted. No data
and no download is needed. Exits with 1 if a trace is not verified.
"""

import argparse
import functools
import gc
import logging
import os
import os.path as osp
import re
import sys
import time
import warnings
from collections.abc import Iterator
from importlib import metadata
from typing import Any

# Before anything imports them: nothing is to be fetched.
os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('TRANSFORMERS_OFFLINE', '1')

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import (  # noqa: E402
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

import mmdhp  # noqa: E402

sys.path.insert(0, osp.dirname(osp.abspath(__file__)))
from model_zoo.check import Settings, examine, warm_up  # noqa: E402
from model_zoo.entry import Entry  # noqa: E402
from model_zoo.libraries import LIBRARIES, entries_of  # noqa: E402
from model_zoo.process import brief, isolated  # noqa: E402
from model_zoo.report import (  # noqa: E402
    Record,
    line,
    markdown,
    paste,
    problems,
    summary,
    text_table,
)


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--library',
        choices=[*LIBRARIES, 'all'],
        default='all',
        help='whose architectures (default: all libraries)',
    )
    parser.add_argument(
        '--filter',
        default='',
        metavar='REGEX',
        help='only where this is found in "LIBRARY MODEL ARCH"; case does '
        'not matter',
    )
    parser.add_argument(
        '--list', action='store_true', help='print the names and stop'
    )
    parser.add_argument(
        '--ratio',
        type=float,
        default=0.5,
        help='share of the units that is kept (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--timeout',
        type=float,
        default=120,
        metavar='SECONDS',
        help='for one architecture (default: %(default)s)',
    )
    parser.add_argument(
        '--max-params',
        type=float,
        default=400e6,
        metavar='N',
        help='leave out networks with more parameters (default: %(default)g)',
    )
    parser.add_argument(
        '--max-memory',
        type=float,
        default=_half_of_memory(),
        metavar='GB',
        help='for one architecture (default: half of this machine, '
        '%(default).0f)',
    )
    parser.add_argument(
        '--json', metavar='OUT', help='written after every architecture'
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='keep the rows that --json holds already, failed ones excepted',
    )
    parser.add_argument(
        '--markdown',
        metavar='OUT',
        help='put the tables between the markers of this file',
    )
    args = parser.parse_args()
    check_args(parser, args)
    return args


def _half_of_memory() -> float:
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return pages / 2 / 1e9


def check_args(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> None:
    """Stop at once at what would fail later."""
    try:
        re.compile(args.filter)
    except re.error as error:
        parser.error(f'--filter {args.filter!r} is no pattern: {error}')
    if not 0 < args.ratio <= 1:
        parser.error(f'--ratio is {args.ratio}, but must be in (0, 1]')
    if args.resume and not args.json:
        parser.error('--resume needs the --json file of the earlier run')


def selected(library: str, pattern: str) -> list[Entry]:
    """Architectures of a library whose name a pattern matches."""
    found = re.compile(pattern, re.IGNORECASE)
    return [e for e in entries_of(library) if found.search(e.name)]


def available(
    args: argparse.Namespace, record: Record
) -> Iterator[tuple[str, list[Entry]]]:
    """The libraries asked for that can be imported, one after the other."""
    names = list(LIBRARIES) if args.library == 'all' else [args.library]
    for library in names:
        try:
            yield library, selected(library, args.filter)
        except Exception as error:  # a broken installation fails anyhow
            record.unavailable[library] = brief(error)
            print(f'{library}: unavailable: {brief(error)}', flush=True)


class Report:
    """A bar with name and remaining time; off a terminal, one line each.

    Args:
        library (str): Shown in front.
        total (int): Number of architectures.
    """

    def __init__(self, library: str, total: int) -> None:
        console = Console(stderr=True)
        self.terminal = console.is_terminal
        self.total, self.done, self.start = total, 0, time.monotonic()
        self.bar = Progress(
            TextColumn(library),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn('{task.description}'),
            console=console,
            auto_refresh=False,  # a thread would be forked along
            transient=True,
            disable=not self.terminal,
        )
        self.task = self.bar.add_task('', total=total)

    def begin(self, entry: Entry) -> None:
        """Show what is examined now."""
        text = f'{entry.model} {entry.arch}'
        self.bar.update(self.task, description=text, refresh=True)

    def end(self, row: dict[str, Any]) -> None:
        """Count a row; tell about it where that is needed."""
        self.done += 1
        self.bar.update(self.task, advance=1, refresh=True)
        if not self.terminal:
            passed = time.monotonic() - self.start
            left = passed / self.done * (self.total - self.done)
            print(
                f'[{self.done}/{self.total}, {left / 60:.0f} min left] '
                f'{line(row)}',
                file=sys.stderr,
                flush=True,
            )
        elif row['status'] != 'verified':
            self.bar.console.print(line(row), markup=False, highlight=False)


def run(
    library: str,
    entries: list[Entry],
    args: argparse.Namespace,
    record: Record,
) -> None:
    """Examine the architectures of a library, one process each."""
    settings = Settings(args.ratio, args.seed, args.max_params)
    report = Report(library, len(entries))
    with report.bar:
        for entry in entries:
            row = record.find(library, entry.model, entry.arch)
            if row is None:
                report.begin(entry)
                row = dict(library=library, model=entry.model, arch=entry.arch)
                row |= isolated(
                    functools.partial(examine, entry, settings),
                    args.timeout,
                    args.max_memory * 1e9,
                    report.bar.refresh,
                )
                record.add(row)
            report.end(row)


def prepare() -> None:
    """One quiet thread, with everything loaded that a trace needs."""
    warnings.filterwarnings('ignore')
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    warm_up()
    gc.freeze()  # forked processes need not copy what they inherit


def about(args: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on."""
    versions = dict(mmdhp=mmdhp.__version__, torch=torch.__version__)
    owners = metadata.packages_distributions()
    for library in LIBRARIES:
        for owner in owners.get(library, [])[:1]:
            versions[owner] = metadata.version(owner)
    keys = ('ratio', 'seed', 'max_params')
    options = {key: getattr(args, key) for key in keys}
    return dict(versions=versions, options=options)


def examine_all(args: argparse.Namespace, record: Record) -> int:
    """Run library by library, or only list; return how many there were."""
    examined = 0
    for library, entries in available(args, record):
        examined += len(entries)
        if args.list:
            print('\n'.join(entry.name for entry in entries))
        elif entries:
            run(library, entries, args, record)
            rows = record.of(library)
            print(f'{text_table(rows)}\n\n{summary(library, rows)}\n')
    if not args.list:
        record.write()
    return examined


def main() -> None:
    """Run, print, write."""
    args = parse_args()
    prepare()
    record = Record(args.json, about(args))
    if args.resume:
        record.resume()
    try:
        examined = examine_all(args, record)
    except KeyboardInterrupt:
        hint = f'; --resume goes on from {args.json}' if args.json else ''
        raise SystemExit(f'interrupted{hint}') from None
    if not examined and not record.unavailable:
        raise SystemExit(
            f'error: --filter {args.filter!r} matches no architecture; '
            '--list shows all names.'
        )
    if args.markdown and not args.list:
        paste(args.markdown, markdown(record))
    wrong = problems(record.rows)
    for row in wrong:
        print(f'{row["library"]}: {line(row)}')
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()
