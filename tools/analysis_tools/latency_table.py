#!/usr/bin/env python
r"""How well the latency of pruned networks is predicted on this machine.

Measures the table that a latency target uses, then networks of random widths
whole, and prints both. Example:

    python tools/analysis_tools/latency_table.py \
        configs/oneshot/resnet20_oneshot50.py --divisor 8
"""

import argparse
import statistics
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmdhp
from mmdhp.costs import LatencyOptions, Meter
from mmdhp.methods.selection import narrowest, select
from mmdhp.models.model_forward import run_model
from mmdhp.text import table

SHARES = (0.8, 0.65, 0.5, 0.4, 0.3)


def parse_args(args: Optional[list[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='of a pruning run, or any other')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        help='of one input (default: input_shape of the pruner)',
    )
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--divisor', type=int, default=1)
    parser.add_argument('--threads', type=int, help='default: as they are')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--cache', help='folder for what is measured')
    parser.add_argument('--min-channels', type=int, default=4)
    return parser.parse_args(args)


def shape_of(cfg: Config, given: Optional[list[int]]) -> tuple[int, ...]:
    """Shape of one input, from the command line or the config."""
    wrapper = cfg.get('optim_wrapper') or {}
    shape = given or (wrapper.get('pruner') or {}).get('input_shape')
    if not shape:
        raise SystemExit(
            'error: the config has no pruner with an input_shape; give '
            '--shape 3 224 224.'
        )
    return tuple(shape)


def compare(meter: Meter, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Predicted and measured shares of networks of random widths.

    Args:
        meter (Meter): Of a model.
        args (Namespace): Of the command line.
    """
    graph = meter.graph
    cost = meter.latency(graph.full())
    floors = torch.tensor(
        [min(args.min_channels, group.size) for group in graph.groups]
    )
    least = cost.share(narrowest(graph, floors, args.divisor))
    masks = [graph.full()]
    for seed, share in enumerate(s for s in SHARES if s > least):
        draw = torch.Generator().manual_seed(seed)
        scores = torch.rand(graph.num_units, generator=draw)
        budget = share * cost.full
        masks.append(
            select(scores, graph, cost.value, budget, floors, args.divisor)
        )
    times = meter.networks(masks)
    return [
        {
            'macs': int(graph.macs(keep)) / int(graph.macs()),
            'predicted': cost.share(keep),
            'measured': time / times[0],
            'milliseconds': time,
        }
        for keep, time in zip(masks, times)
    ]


def report(rows: list[dict[str, Any]]) -> str:
    """A table, and the errors in a sentence."""
    cells = [
        [
            f'{row["macs"]:.3f}',
            f'{row["predicted"]:.3f}',
            f'{row["measured"]:.3f}',
            f'{row["predicted"] / row["measured"]:.3f}',
            f'{row["milliseconds"]:.3f}',
        ]
        for row in rows
    ]
    header = ['MACs', 'predicted', 'measured', 'ratio', 'ms']
    errors = [abs(r['predicted'] / r['measured'] - 1) for r in rows[1:]]
    if not errors:
        return f'{table(cells, header)}\nNo other width can be reached.'
    return (
        f'{table(cells, header)}\n'
        f'Error of the prediction: {statistics.fmean(errors):.1%} on average, '
        f'{max(errors):.1%} at most.'
    )


def main(args: Optional[list[str]] = None) -> None:
    parsed = parse_args(args)
    cfg = Config.fromfile(parsed.config)
    shape = shape_of(cfg, parsed.shape)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model = MODELS.build(cfg.model)
    graph = mmdhp.trace(model, torch.zeros(2, *shape), forward=run_model)
    options = LatencyOptions(
        shape,
        parsed.batch_size,
        parsed.threads,
        parsed.rounds,
        cache=parsed.cache,
    )
    meter = Meter(model, graph, options, run_model, parsed.divisor)
    for key, value in meter.environment().items():
        print(f'{key}: {value}')
    print(report(compare(meter, parsed)))


if __name__ == '__main__':
    main()
