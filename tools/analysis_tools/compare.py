#!/usr/bin/env python
"""Compare finished runs: quality, MACs, parameters, latency; table and plot.

A run is its work folder or an exported folder, PATH or NAME=PATH. Runs
without pruning (baselines) are traced for their MACs.
"""

import argparse
import json
import os
import os.path as osp
from collections.abc import Sequence
from typing import Any, Optional

import torch

from mmdhp.costs.timing import latencies
from mmdhp.models.model_forward import run_model
from mmdhp.report import Run, read_run
from mmdhp.report.published import (
    PUBLISHED,
    label_of,
    published_rows,
    quality,
)
from mmdhp.text import amount, table


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('runs', nargs='+', metavar='RUN', help='NAME=PATH')
    parser.add_argument(
        '--metric',
        help='validation metric, for example accuracy/top1, which is shown '
        'as an error (default: the first that all runs have)',
    )
    parser.add_argument(
        '--latency',
        action='store_true',
        help='measure all networks here, interleaved',
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        metavar='N',
        help='input shape with the batch axis, for --latency (default: one '
        'input of the shape at which MACs are counted)',
    )
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument(
        '--published',
        nargs=2,
        metavar=('NETWORK', 'DATA'),
        help='add the figures of papers, for example ResNet-56 CIFAR-10 '
        f'({osp.relpath(PUBLISHED)} has them)',
    )
    parser.add_argument(
        '--out-dir',
        default=osp.join('work_dirs', 'compare'),
        help='folder for compare.json, compare.md and compare.png',
    )
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f'--rounds is {args.rounds}, but at least 1 is needed')
    return args


def shared_metric(runs: Sequence[Run], wanted: Optional[str]) -> str:
    """The metric to compare.

    Raises:
        SystemExit: If not all runs have it.
    """
    shared = [
        key
        for key in runs[0].metrics
        if all(key in run.metrics for run in runs)
    ]
    if wanted is None and shared:
        return shared[0]
    if wanted in shared:
        return str(wanted)
    found = '; '.join(
        f'{run.name}: {", ".join(run.metrics) or "none"}' for run in runs
    )
    raise SystemExit(
        f'error: the runs do not share {wanted or "any metric"}. They have '
        f'{found}. Name one that all have with --metric.'
    )


def complete(runs: Sequence[Run]) -> None:
    """Count the networks that were not pruned, in place."""
    shapes = [run.input_shape for run in runs if run.input_shape]
    missing = [run for run in runs if run.macs is None]
    if missing and not shapes:
        raise SystemExit(
            'error: none of the runs was pruned, so there is no input shape '
            'to count MACs at. Name at least one pruned run.'
        )
    for run in missing:
        run.count(shapes[0])


def measure(
    runs: Sequence[Run], shape: Optional[Sequence[int]], rounds: int
) -> None:
    """Add latencies, in place."""
    shape = shape or (1, *(runs[0].input_shape or ()))
    models = [run.build() for run in runs]
    found = latencies(models, torch.rand(*shape), run_model, rounds)
    for run, value in zip(runs, found):
        run.latency = value


def rows_of(runs: Sequence[Run], metric: str) -> list[dict[str, Any]]:
    """One record per run; ratios are against the first run's original."""
    macs, params = runs[0].whole_macs or 1, runs[0].whole_params or 1
    slowest = runs[0].latency
    return [
        {
            'name': run.name,
            'method': run.method or 'original',
            label_of(metric): quality(run.metrics, metric),
            'macs': run.macs,
            'macs_percent': 100 * (run.macs or 0) / macs,
            'params': run.params,
            'params_percent': 100 * (run.params or 0) / params,
            'milliseconds': run.latency,
            'latency_ratio': run.latency / slowest
            if run.latency and slowest
            else None,
        }
        for run in runs
    ]


def text_of(rows: Sequence[dict], label: str) -> str:
    """The table of the runs."""
    timed = rows[0]['milliseconds'] is not None
    cells = []
    for row in rows:
        line = [
            row['name'],
            row['method'],
            f'{row[label]:.2f}',
            amount(row['macs']),
            f'{row["macs_percent"]:.1f}',
            amount(row['params']),
            f'{row["params_percent"]:.1f}',
        ]
        if timed:
            line += [
                f'{row["milliseconds"]:.2f}',
                f'{row["latency_ratio"]:.3f}',
            ]
        cells.append(line)
    header = ['run', 'method', label, 'MACs', '%', 'params', '%']
    return table(cells, header + ['ms', 'ratio'] * timed)


def published_text(rows: Sequence[dict]) -> str:
    """The table of published figures."""
    cells = [
        [
            row['method'],
            row['value'],
            row['macs_percent'],
            row['params_percent'] or '-',
            row['source'],
        ]
        for row in rows
    ]
    title = f'Published ({rows[0]["network"]}, {rows[0]["data"]}):'
    header = ['method', rows[0]['metric'], 'MACs %', 'params %', 'source']
    return f'{title}\n{table(cells, header)}'


def draw(
    rows: Sequence[dict], published: Sequence[dict], label: str, path: str
) -> None:
    """Quality against MACs: runs filled, published figures hollow."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout='constrained')
    methods = [row['method'] for row in (*rows, *published)]
    colours = {
        method: f'C{index % 10}'
        for index, method in enumerate(dict.fromkeys(methods))
    }
    for row in rows:
        colour = colours[row['method']]
        axes.scatter(row['macs_percent'], row[label], color=colour, zorder=3)
        _name(axes, row['name'], row['macs_percent'], row[label])
    for row in published:
        x, y = float(row['macs_percent']), float(row['value'])
        colour = colours[row['method']]
        axes.scatter(x, y, edgecolors=colour, facecolors='none', marker='s')
        _name(axes, f'{row["method"]} (published)', x, y)
    axes.set(xlabel='MACs, % of the original', ylabel=label)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _name(axes: Any, text: str, x: float, y: float) -> None:
    axes.annotate(text, (x, y), (4, 4), textcoords='offset points', fontsize=7)


def main() -> None:
    """Read, measure, print, write."""
    args = parse_args()
    try:
        runs = [read_run(argument) for argument in args.runs]
        published = published_rows(*args.published) if args.published else []
    except ValueError as error:
        raise SystemExit(f'error: {error}') from None
    metric = shared_metric(runs, args.metric)
    complete(runs)
    if args.latency:
        measure(runs, args.shape, args.rounds)
    rows, label = rows_of(runs, metric), label_of(metric)
    text = text_of(rows, label)
    if published:
        text += f'\n\n{published_text(published)}'
    print(text)
    os.makedirs(args.out_dir, exist_ok=True)
    files = [osp.join(args.out_dir, f'compare.{k}') for k in ('json', 'md')]
    with open(files[0], 'w', encoding='utf-8') as file:
        json.dump({'runs': rows, 'published': published}, file, indent=2)
    with open(files[1], 'w', encoding='utf-8') as file:
        file.write(f'```\n{text}\n```\n')
    picture = osp.join(args.out_dir, 'compare.png')
    draw(rows, published, label, picture)
    print(f'\nWritten: {", ".join([*files, picture])}')


if __name__ == '__main__':
    main()
