"""What of a model can be pruned, what it costs, and why the rest stays."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Optional

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmdhp.engine.constructor import build_pruner
from mmdhp.graph import ChannelGraph, trace
from mmdhp.graph.reasons import REASONS
from mmdhp.methods.limits import Limits
from mmdhp.methods.selection import threshold_mask
from mmdhp.models.model_forward import run_model
from mmdhp.surgery import baseline_of, rebuild
from mmdhp.text import table

from .configs import build_model, pruner_of, read_config, read_weights
from .input_shape import find_input_shape

# Options of a pruner that decide what can be pruned.
OPTIONS = ('exclude', 'groups', 'safe_norms')


def inspect_config(
    config: str,
    checkpoint: Optional[str] = None,
    input_shape: Optional[Sequence[int]] = None,
    exclude: Sequence[str] = (),
) -> dict[str, Any]:
    """Trace the model of a config.

    Args:
        config (str): File, or ``LIBRARY::PATH``.
        checkpoint (str, optional): Take widths and weights from it, pruned or
            not. It must be of the config's architecture.
        input_shape (Sequence[int], optional): Without the batch axis. By
            default the config tells it.
        exclude (Sequence[str]): Name patterns beside those of the config's
            pruner. Defaults to ().

    Returns:
        dict: Plain data: ``groups``, ``frozen``, ``reasons``, ``unused``,
        ``macs``, ``params``, ``smallest`` (what the narrowest allowed widths
        leave, as fractions), ``input_shape``, ``input_source``; with a
        checkpoint, ``macs_of_config`` and ``params_of_config``, too.
    """
    cfg = read_config(config)
    model = build_model(cfg)
    given = pruner_of(cfg)
    found = find_input_shape(cfg, model, input_shape)
    options: dict[str, Any] = {k: given[k] for k in OPTIONS if k in given}
    options['exclude'] = [*options.get('exclude', ()), *exclude]
    inputs = torch.zeros(2, *found.shape)

    def run() -> ChannelGraph:
        return trace(model, inputs, forward=run_model, **options)

    graph, whole = run(), None
    if checkpoint is not None:
        whole = graph
        rebuild(model, read_weights(checkpoint))
        graph = run()
    return {
        'input_shape': list(found.shape),
        'input_source': found.source,
        **describe(graph, whole),
        'smallest': smallest(cfg, model, graph),
    }


def smallest(
    cfg: Config, model: nn.Module, graph: ChannelGraph
) -> dict[str, float]:
    """What the narrowest allowed widths leave: the lowest target.

    Args:
        cfg (Config): Its pruner, if it has one, says how narrow a group may
            become; otherwise every group keeps four channels.
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.

    Returns:
        dict[str, float]: ``'macs'`` and ``'params'``, as fractions of the
        model, or of its baseline if it was widened. Empty if nothing can be
        pruned.
    """
    if not graph.groups:
        return {}
    known = baseline_of(model)
    base = graph if known is None else known.graph
    floors, divisor, kinds = _floors(cfg, model, graph, base)
    sizes = torch.tensor([group.size for group in graph.groups])
    rounded = (floors + divisor - 1) // divisor * divisor
    lowest = torch.minimum(rounded, sizes)
    scores = torch.zeros(graph.num_units)
    keep = threshold_mask(scores, graph, float('inf'), lowest)
    macs = graph.macs(keep, kinds) / base.macs(kinds=kinds)
    return {
        'macs': float(macs),
        'params': float(graph.params(keep) / base.params()),
    }


def _floors(
    cfg: Config, model: nn.Module, graph: ChannelGraph, base: ChannelGraph
) -> tuple[Tensor, int, tuple[str, ...]]:
    given = pruner_of(cfg)
    if not given:
        return Limits().resolve(model, graph), 1, ('weight',)
    pruner = build_pruner(given)
    pruner.graph, pruner.baseline = graph, base
    return pruner.resolve_floors(model), pruner.divisor, pruner.kinds


def shares(graph: ChannelGraph) -> list[tuple[float, float]]:
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


def _shares(graph: ChannelGraph, costs: list) -> list[float]:
    """Share of the costs whose axes hold units of each group."""
    owner = graph.group_of_unit.numpy()
    total, found = 0.0, np.zeros(len(graph.groups))
    for axes, cost in costs:
        units = np.concatenate([np.asarray(a, int) for a in [*axes, []]])
        found[np.unique(owner[units[units < len(owner)]])] += cost
        total += cost
    return (found / max(total, 1)).tolist()


def describe(
    graph: ChannelGraph, config: Optional[ChannelGraph] = None
) -> dict[str, Any]:
    """A graph as plain data.

    Args:
        graph (ChannelGraph): The graph.
        config (ChannelGraph, optional): That of the widths in the config,
            where a checkpoint has others.
    """
    found: dict[str, Any] = {
        'macs': graph.macs(),
        'params': graph.params(),
        'groups': _groups(graph),
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
    if config is not None:
        units = {group.name: group.size for group in config.groups}
        for entry in found['groups']:
            entry['units_of_config'] = units.get(entry['name'])
        found['macs_of_config'] = config.macs()
        found['params_of_config'] = config.params()
    return found


def _groups(graph: ChannelGraph) -> list[dict[str, Any]]:
    return [
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
    ]


def inspection_text(found: Mapping[str, Any], members: bool = False) -> str:
    """The tables of an inspection.

    Args:
        found (Mapping): From :func:`inspect_config`.
        members (bool): List what is cut, by group. Defaults to False.
    """
    groups, frozen = found['groups'], found['frozen']
    lines = [
        f'Input {tuple(found["input_shape"])}, from: {found["input_source"]}',
        '',
        f'{len(groups)} groups can be pruned\n{group_table(found)}',
    ]
    for group in groups if members else ():
        lines += ['', group['name']]
        lines += [
            f'  {member["parameter"]} axis {member["axis"]}'
            for member in group['members']
        ]
    lines += ['', f'{len(frozen)} keep their width']
    lines += [
        f'  {group["name"]} ({group["channels"]}) [{group["code"]}]: '
        f'{group["reason"]}'
        for group in frozen
    ]
    for code, known in found['reasons'].items():
        lines.append(f'\n[{code}] {known["meaning"]}')
        lines.append(f'  What helps: {known["fix"]}')
    if found['unused']:
        names = ', '.join(found['unused'])
        lines.append(f'\nnot reached by the forward pass: {names}')
    lines += ['', cost_line(found)]
    if found['smallest']:
        lines.append(range_line(found['smallest']))
    return '\n'.join(lines)


def group_table(found: Mapping[str, Any]) -> str:
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


def cost_line(found: Mapping[str, Any]) -> str:
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


def range_line(lowest: Mapping[str, float]) -> str:
    """Targets that can be reached.

    Examples:
        >>> print(range_line({'macs': 0.0123, 'params': 0.02}))
        Reachable targets: macs 0.0123 to 1, params 0.02 to 1
    """
    ranges = [f'{key} {value:.4g} to 1' for key, value in lowest.items()]
    return f'Reachable targets: {", ".join(ranges)}'
