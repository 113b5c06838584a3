#!/usr/bin/env python
"""List the channel groups of a config's model, and what is frozen and why.

With ``--checkpoint`` the model has the widths of a checkpoint, pruned or not.
Exits with 1 if nothing can be pruned.
"""

import argparse
import functools
import json
import os.path as osp
import sys
from collections.abc import Mapping
from math import prod
from typing import Any, Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import CheckpointLoader
from torch import nn

import mmdhp
from mmdhp.engine.checkpoint_file import read_checkpoint
from mmdhp.engine.report import table
from mmdhp.graph.reasons import REASONS
from mmdhp.models.model_forward import run_model

sys.path.insert(0, osp.dirname(osp.dirname(osp.abspath(__file__))))
from _common import check_checkpoint, clear_errors  # noqa: E402

# Options of a pruner that decide what can be pruned.
OPTIONS = ('exclude', 'groups', 'safe_norms')


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
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
        help='one input without the batch axis, such as 3 224 224 (default: '
        "the pruner's, if the config has one)",
    )
    parser.add_argument(
        '--exclude',
        nargs='+',
        default=(),
        help='name patterns of modules whose output channels stay, beside '
        "the pruner's",
    )
    parser.add_argument(
        '--members', action='store_true', help='list what is cut, by group'
    )
    parser.add_argument('--json', metavar='OUT', help='write it as JSON, too')
    return parser.parse_args()


def read_config(name: str) -> Config:
    """A config file, or one that a library ships (``mmdet::...``)."""
    if '::' in name:
        return get_config(name)
    if not osp.isfile(name):
        raise SystemExit(f'error: there is no config {name}.')
    return Config.fromfile(name)


def input_shape(
    cfg: Config, pruner: Mapping[str, Any], given: list[int]
) -> tuple[int, ...]:
    """The input shape on the command line, or the pruner's."""
    if given:
        return tuple(given)
    if 'input_shape' in pruner:
        return tuple(pruner['input_shape'])
    raise SystemExit(
        f'error: {cfg.filename} has no pruner, so its input is unknown. Give '
        'it as --input-shape, for example 3 224 224.'
    )


def load(model: nn.Module, path: str) -> None:
    """Give a model the widths and weights of a checkpoint, in place."""
    if '://' in path:
        found = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    else:
        found = read_checkpoint(path)
    mmdhp.rebuild(model, found)


def shares(graph: mmdhp.ChannelGraph) -> list[tuple[float, float]]:
    """MACs and parameters of the layers that a group takes part in.

    As fractions of the model; a layer between two groups counts for both.
    """
    layers = [
        ([rows, columns], factor * len(rows) * len(columns))
        for _, _, factor, rows, columns in graph.layer_terms()
    ]
    tensors = []
    for name in graph.trainable:
        shape = graph.shapes[name]
        units = [graph.axis_units.get((name, a)) for a in range(len(shape))]
        tensors.append(([u for u in units if u is not None], prod(shape)))
    return list(zip(_shares(graph, layers), _shares(graph, tensors)))


def _shares(graph: mmdhp.ChannelGraph, costs: list) -> list[float]:
    """Share of the costs whose axes hold units of each group."""
    owner = graph.group_of_unit.numpy()
    total, found = 0.0, np.zeros(len(graph.groups))
    for axes, cost in costs:
        units = np.concatenate([np.asarray(a, int) for a in [*axes, []]])
        found[np.unique(owner[units[units < len(owner)]])] += cost
        total += cost
    return (found / max(total, 1)).tolist()


def describe(
    graph: mmdhp.ChannelGraph, config: Optional[mmdhp.ChannelGraph] = None
) -> dict[str, Any]:
    """All that is printed, as plain data.

    Args:
        graph (ChannelGraph): The graph.
        config (ChannelGraph, optional): That of the widths in the config,
            where a checkpoint has others.
    """
    found = _describe(graph)
    if config is not None:
        units = {group.name: group.size for group in config.groups}
        for group in found['groups']:
            group['units_of_config'] = units.get(group['name'])
        found['macs_of_config'] = config.macs()
        found['params_of_config'] = config.params()
    return found


def _describe(graph: mmdhp.ChannelGraph) -> dict[str, Any]:
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
        'reasons': {
            code: REASONS[code]._asdict()
            for code in dict.fromkeys(group.code for group in graph.frozen)
        },
        'unused': graph.unused,
    }


def show(found: dict[str, Any], members: bool) -> None:
    """Print the tables."""
    groups, frozen = found['groups'], found['frozen']
    print(f'{len(groups)} groups can be pruned\n{group_table(found)}')
    if members:
        for group in groups:
            print(f'\n{group["name"]}')
            for member in group['members']:
                print(f'  {member["parameter"]} axis {member["axis"]}')
    print(f'\n{len(frozen)} keep their width')
    for group in frozen:
        print(
            f'  {group["name"]} ({group["channels"]}) [{group["code"]}]: '
            f'{group["reason"]}'
        )
    for code, known in found['reasons'].items():
        print(f'\n[{code}] {known["meaning"]}\n  What helps: {known["fix"]}')
    if found['unused']:
        names = ', '.join(found['unused'])
        print(f'\nnot reached by the forward pass: {names}')
    print(f'\n{cost_line(found)}')


def group_table(found: dict[str, Any]) -> str:
    """Widths and shares of the groups that can be pruned."""
    compared = 'macs_of_config' in found
    rows = [
        [
            group['name'],
            str(group['units']),
            *([str(group['units_of_config'] or '-')] if compared else []),
            str(len(group['members'])),
            f'{group["macs_share"]:.1%}',
            f'{group["params_share"]:.1%}',
        ]
        for group in found['groups']
    ]
    extra = ['of'] if compared else []
    header = ['group', 'units', *extra, 'members', 'MACs', 'params']
    return table(rows, header)


def cost_line(found: dict[str, Any]) -> str:
    """MACs and parameters, and their shares of those in the config."""
    text = (
        f'{found["macs"] / 1e9:.4f} GMACs, {found["params"] / 1e6:.4f} M '
        'parameters'
    )
    if 'macs_of_config' not in found:
        return text
    macs = found['macs'] / found['macs_of_config']
    params = found['params'] / found['params_of_config']
    return f'{text}: {macs:.2%} and {params:.2%} of what the config has'


def main() -> None:
    """Trace and print."""
    args = parse_args()
    if args.checkpoint:
        check_checkpoint(args.checkpoint)
    cfg = read_config(args.config)
    pruner = (cfg.get('optim_wrapper') or {}).get('pruner') or {}
    shape = input_shape(cfg, pruner, args.input_shape)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    options = {key: pruner[key] for key in OPTIONS if key in pruner}
    options['exclude'] = [*options.get('exclude', ()), *args.exclude]
    trace = functools.partial(mmdhp.trace, forward=run_model, **options)
    with clear_errors():
        model = MODELS.build(cfg.model)
        inputs = torch.zeros(2, *shape)
        graph, config = trace(model, inputs), None
        if args.checkpoint:
            config = graph
            load(model, args.checkpoint)
            graph = trace(model, inputs)
    found = describe(graph, config)
    show(found, args.members)
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as file:
            json.dump(found, file, indent=2)
    sys.exit(0 if graph.groups else 1)


if __name__ == '__main__':
    main()
