#!/usr/bin/env python
"""Compare the widths of exported models with those of their baseline.

Reads the ``channels.json`` of one run or several (of several seeds, say),
prints a table and, with ``--plot``, draws it. A baseline is what the config's
architecture says: the model before any pruning or widening.
"""

import argparse
import json
import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmdhp.text import amount, table

KEYS = ('groups', 'macs', 'params', 'method')


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'runs',
        nargs='+',
        help='channels.json, the exported folder that holds it, or the work '
        'directory of a run',
    )
    parser.add_argument(
        '--plot',
        metavar='OUT',
        help='draw the widths to a file; its ending says the format, such as '
        '.png or .svg',
    )
    return parser.parse_args()


def read(path: str) -> dict[str, Any]:
    """Content of a ``channels.json``, wherever in a run ``path`` points."""
    candidates = [
        path,
        osp.join(path, 'channels.json'),
        osp.join(path, 'pruned', 'channels.json'),
    ]
    found = [candidate for candidate in candidates if osp.isfile(candidate)]
    if not found:
        raise SystemExit(
            f'error: there is no channels.json in {path}. It is written to '
            'WORK_DIR/pruned/ at the end of a pruning run.'
        )
    with open(found[0], encoding='utf-8') as file:
        try:
            content = json.load(file)
        except ValueError as error:
            raise SystemExit(f'error: {found[0]}: {error}') from None
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise SystemExit(
            f'error: {found[0]} has no {", ".join(missing)}, so it is no '
            'channels.json of an exported model.'
        )
    return content


def check_same_groups(runs: Sequence[dict], names: Sequence[str]) -> None:
    """Stop at runs of different networks, naming a group that differs."""
    first = {g['name']: g['total'] for g in runs[0]['groups']}
    for run, name in zip(runs[1:], names[1:]):
        other = {g['name']: g['total'] for g in run['groups']}
        wrong = [g for g in {**first, **other} if first.get(g) != other.get(g)]
        if wrong:
            raise SystemExit(
                f'error: {name} is of another network than {names[0]}: '
                f'{wrong[0]} has {other.get(wrong[0], "no")} channels in its '
                f'baseline against {first.get(wrong[0], "no")}. Compare runs '
                'of one baseline.'
            )


def width_table(runs: Sequence[dict], names: Sequence[str]) -> str:
    """Widths and growth of every group, one pair of columns per run."""
    header = ['group', 'baseline']
    for name in names:
        header += [name, 'growth']
    rows = []
    for index, group in enumerate(runs[0]['groups']):
        row = [group['name'], str(group['total'])]
        for run in runs:
            kept = run['groups'][index]['kept']
            row += [str(kept), f'{kept / group["total"] - 1:+.0%}']
        rows.append(row)
    return table(rows, header)


def summary(run: dict[str, Any], name: str) -> str:
    """One sentence about a run."""
    pairs = [(group['kept'], group['total']) for group in run['groups']]
    wider = sum(kept > total for kept, total in pairs)
    narrower = sum(kept < total for kept, total in pairs)
    costs = ', '.join(
        f'{amount(run[key]["pruned"])} of {amount(run[key]["original"])} '
        f'{word} ({run[key]["ratio"]:.2%})'
        for key, word in (('macs', 'MACs'), ('params', 'parameters'))
    )
    return (
        f'{name} ({run["method"]}): {wider} groups are wider than in the '
        f'baseline, {narrower} narrower, {len(pairs) - wider - narrower} '
        f'equal; {costs}.'
    )


def draw(runs: Sequence[dict], names: Sequence[str], path: str) -> None:
    """Draw the widths as steps over the groups."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    groups = runs[0]['groups']
    places = range(len(groups))
    size = (max(6.0, 0.22 * len(groups)), 4.5)
    figure, axes = pyplot.subplots(figsize=size, layout='constrained')
    totals = [group['total'] for group in groups]
    axes.bar(places, totals, color='0.85', label='baseline')
    for run, name in zip(runs, names):
        kept = [group['kept'] for group in run['groups']]
        axes.plot(places, kept, marker='o', markersize=3, label=name)
    labels = [group['name'] for group in groups]
    axes.set_xticks(places, labels, rotation=90, fontsize=6)
    axes.set_ylabel('channels')
    axes.set_yscale('log', base=2)
    axes.legend()
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:  # matplotlib names the formats it knows
        raise SystemExit(f'error: {path}: {error}') from None
    finally:
        pyplot.close(figure)


def labels_of(paths: Sequence[str]) -> list[str]:
    """Short names of runs: the work directory's, numbered if they repeat."""
    names: list[str] = []
    for path in paths:
        parts = osp.abspath(path).split(osp.sep)
        parts = [p for p in parts if p not in ('pruned', 'channels.json')]
        name = parts[-1]
        count = sum(other.partition(' ')[0] == name for other in names)
        names.append(f'{name} ({count + 1})' if count else name)
    return names


def main() -> None:
    """Read, print and draw."""
    args = parse_args()
    runs, names = [read(path) for path in args.runs], labels_of(args.runs)
    check_same_groups(runs, names)
    print(width_table(runs, names))
    print()
    for run, name in zip(runs, names):
        print(summary(run, name))
    if args.plot:
        draw(runs, names, args.plot)
        print(f'Plot: {args.plot}')


if __name__ == '__main__':
    main()
