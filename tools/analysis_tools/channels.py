#!/usr/bin/env python
"""List the channel groups of a config's model, and what is frozen and why.

Exits with 1 if nothing can be pruned.
"""

import argparse
import json
import os.path as osp
import sys

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmdhp
from mmdhp.engine.report import table

sys.path.insert(0, osp.dirname(osp.dirname(osp.abspath(__file__))))
from _common import clear_errors  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='any OpenMMLab config')
    parser.add_argument(
        '--input-shape',
        nargs='+',
        type=int,
        metavar='N',
        help='one input without the batch axis, such as 3 224 224 (default: '
        "the pruner's, if the config has one)",
    )
    parser.add_argument(
        '--exclude',
        nargs='+',
        default=(),
        help='name patterns of modules whose output channels stay',
    )
    parser.add_argument(
        '--members', action='store_true', help='list what is cut, by group'
    )
    parser.add_argument('--json', metavar='OUT', help='write it as JSON, too')
    return parser.parse_args()


def input_shape(cfg: Config, given: list[int]) -> tuple[int, ...]:
    """The input shape on the command line, or the pruner's."""
    if given:
        return tuple(given)
    pruner = (cfg.get('optim_wrapper') or {}).get('pruner') or {}
    if 'input_shape' in pruner:
        return tuple(pruner['input_shape'])
    raise SystemExit(
        f'error: {cfg.filename} has no pruner, so its input is unknown. Give '
        'it as --input-shape, for example 3 224 224.'
    )


def shares(graph: mmdhp.ChannelGraph) -> list[tuple[float, float]]:
    """MACs and parameters in which each group takes part, as fractions.

    The slope with respect to the group's gates; a layer between two groups
    counts for both.
    """
    pairs = []
    for cost in (graph.macs, graph.params):
        gates = torch.ones(graph.num_units, dtype=torch.float64)
        total = cost(gates.requires_grad_())
        (slope,) = torch.autograd.grad(total, gates)
        slope = slope / total.detach()
        pairs.append(
            [float(slope[g.start : g.stop].sum()) for g in graph.groups]
        )
    return list(zip(*pairs))


def describe(graph: mmdhp.ChannelGraph) -> dict:
    """All that is printed, as plain data."""
    return {
        'macs': graph.macs(),
        'params': graph.params(),
        'groups': [
            {
                'name': group.name,
                'units': group.size,
                'macs_share': macs,
                'params_share': params,
                'members': [
                    {'parameter': member.name, 'axis': member.axis}
                    for member in group.members
                ],
            }
            for group, (macs, params) in zip(graph.groups, shares(graph))
        ],
        'frozen': [
            {
                'name': group.name,
                'channels': group.size,
                'code': group.code,
                'reason': group.reason,
            }
            for group in graph.frozen
        ],
        'unused': graph.unused,
    }


def show(found: dict, members: bool) -> None:
    """Print the tables."""
    rows = [
        [
            group['name'],
            str(group['units']),
            str(len(group['members'])),
            f'{group["macs_share"]:.1%}',
            f'{group["params_share"]:.1%}',
        ]
        for group in found['groups']
    ]
    header = ['group', 'units', 'members', 'MACs', 'params']
    print(f'{len(rows)} groups can be pruned\n{table(rows, header)}')
    if members:
        for group in found['groups']:
            print(f'\n{group["name"]}')
            for member in group['members']:
                print(f'  {member["parameter"]} axis {member["axis"]}')
    print(f'\n{len(found["frozen"])} keep their width')
    for group in found['frozen']:
        print(
            f'  {group["name"]} ({group["channels"]}) [{group["code"]}]: '
            f'{group["reason"]}'
        )
    if found['unused']:
        names = ', '.join(found['unused'])
        print(f'\nnot reached by the forward pass: {names}')
    print(
        f'\n{found["macs"] / 1e9:.4f} GMACs, {found["params"] / 1e6:.4f} M '
        'parameters'
    )


def main() -> None:
    """Trace and print."""
    args = parse_args()
    if not osp.isfile(args.config) and '::' not in args.config:
        raise SystemExit(f'error: there is no config {args.config}.')
    cfg = Config.fromfile(args.config)
    shape = input_shape(cfg, args.input_shape)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with clear_errors():
        model = MODELS.build(cfg.model)
        graph = mmdhp.trace(
            model, torch.zeros(2, *shape), exclude=args.exclude
        )
    found = describe(graph)
    show(found, args.members)
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as file:
            json.dump(found, file, indent=2)
    sys.exit(0 if graph.groups else 1)


if __name__ == '__main__':
    main()
