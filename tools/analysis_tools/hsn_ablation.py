#!/usr/bin/env python
"""Run HSN's ablations on one config; print a table, draw the searches.

Every variant is a whole run, from the search to the pruned network, that
differs from the config in what is ablated: the generator of the gates, the
layer-wise scaling, λ, the controller's inputs, the offset c, the noise. The
runs go to WORK_DIR/VARIANT_SEED; those that are finished are not repeated.
"""

import argparse
import copy
import csv
import json
import os
import os.path as osp
import statistics
from typing import Any, Optional

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

from mmdhp.cli.common import (  # noqa: E402
    add_common_options,
    check_checkpoint,
    check_dataloader,
    clear_errors,
    load_config,
)
from mmdhp.text import table  # noqa: E402

# panel → variant → options of the method; 'lr' is that of the search
PANELS: dict[str, dict[str, dict[str, Any]]] = {
    'generator': {
        'hsn': {},
        'dense': {'generator': 'dense'},
        'gates': {'generator': 'gates'},
        # As fast in the logits as a sum over many weights.
        'gates_lr0.05': {'generator': 'gates', 'lr': 0.05},
    },
    'scaling': {
        'hsn': {},
        'normalised': {'scaling': 'normalised'},
        'paper': {'scaling': 'paper', 'scaling_bounds': None},
        'off': {'scaling': 'off'},
    },
    'lambda': {
        'lambda_x0.25': {'regularization': 0.25},
        'hsn': {},
        'lambda_x4': {'regularization': 4.0},
        'raw_units': {'epsilon': 'raw'},
    },
    'inputs': {
        'hsn': {},
        'learned': {'inputs': 'learned'},
        'random': {'inputs': 'random'},
    },
    'offset': {'hsn': {}, 'c3': {'offset': 3.0}},
    'noise': {'hsn': {}, 'logistic': {'noise': 'logistic'}},
}
VARIANTS = {name: o for panel in PANELS.values() for name, o in panel.items()}
CURVES = ('loss', 'sampled_ratio', 'undecided')


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'config',
        nargs='?',
        default=osp.join('configs', 'hsn', 'resnet56_hsn50.py'),
    )
    parser.add_argument(
        '--panels', nargs='+', choices=PANELS, default=list(PANELS)
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument(
        '--search', type=int, help='length of the search (default: as is)'
    )
    parser.add_argument(
        '--fine-tune',
        type=int,
        default=1,
        help='length of the fine-tuning, in the unit of the train loop',
    )
    add_common_options(parser)
    args = parser.parse_args()
    if args.fine_tune < 1 or (args.search is not None and args.search < 1):
        parser.error('--search and --fine-tune are at least 1')
    return args


def variant_config(
    base: Config, name: str, seed: int, search: Optional[int], fine_tune: int
) -> Config:
    """Config of one run.

    Args:
        base (Config): A config with the method HSN.
        name (str): One of :data:`VARIANTS`.
        seed (int): Seed of the run.
        search (int, optional): Length of the search.
        fine_tune (int): Length of the fine-tuning.

    Raises:
        SystemExit: If the config has another method, or none.
    """
    cfg = copy.deepcopy(base)
    pruner = cfg.optim_wrapper.get('pruner') or {}
    hooks = [
        hook
        for hook in cfg.get('custom_hooks') or []
        if hook['type'] == 'mmdhp.PruningHook'
    ]
    if pruner.get('type') != 'mmdhp.HSN' or not hooks:
        raise SystemExit(
            f'error: the config prunes with {pruner.get("type")!r}, but '
            "these are ablations of 'mmdhp.HSN'."
        )
    options = dict(VARIANTS[name])
    if 'lr' in options:
        rate = {'type': 'Adam', 'lr': options.pop('lr')}
        cfg.optim_wrapper.search_optimizer = rate
    if 'regularization' in options:  # relative to the config's own
        options['regularization'] *= pruner.get('regularization', 4.0)
    pruner.update(options)
    by_epoch = 'max_epochs' in cfg.train_cfg
    unit = 'max_epochs' if by_epoch else 'max_iters'
    if search is not None:
        hooks[0].setdefault('search', {})[unit] = search
    hooks[0]['interval'] = 10
    cfg.default_hooks.logger.update(interval=10)
    cfg.train_cfg[unit] = fine_tune
    cfg.train_cfg.val_interval = 10**6  # at the end only
    cfg.randomness = {'seed': seed}
    cfg.work_dir = osp.join(cfg.work_dir, f'{name}_{seed}')
    cfg.experiment_name = f'{name}_{seed}'
    return cfg


def run(cfg: Config) -> None:
    """Run a config unless it has been."""
    if not osp.isfile(osp.join(cfg.work_dir, 'pruned', 'channels.json')):
        check_checkpoint(cfg.load_from)
        check_dataloader(cfg, 'train_dataloader', 'the search')
        Runner.from_cfg(cfg).train()


def read_run(work_dir: str) -> dict[str, Any]:
    """Curves of the search, and the exported network's figures."""
    with open(osp.join(work_dir, 'pruned', 'channels.json')) as file:
        summary = json.load(file)
    logs = [
        osp.join(folder, name)
        for folder, _, names in os.walk(work_dir)
        for name in names
        if name == 'scalars.json'
    ]
    curves: dict[str, list[float]] = {key: [] for key in ('step', *CURVES)}
    with open(max(logs, key=osp.getmtime)) as file:
        for line in file:
            entry = json.loads(line)
            if 'sampled_ratio' in entry and 'loss' in entry:
                for key, values in curves.items():
                    values.append(entry[key])
    return {
        'curves': curves,
        'metrics': summary['metrics'],
        'macs': summary['macs']['ratio'],
    }


def row_of(name: str, runs: list[dict[str, Any]]) -> list[str]:
    """Cells of a variant: means over its runs, of the last quarter."""

    def tail(key: str) -> str:
        values = [
            value
            for found in runs
            for value in found['curves'][key][
                -len(found['curves'][key]) // 4 :
            ]
        ]
        return f'{statistics.fmean(values):.4g}' if values else '-'

    metrics = [
        f'{statistics.fmean(r["metrics"][key] for r in runs):.4g}'
        for key in list(runs[0]['metrics'])[:1]
    ]
    macs = statistics.fmean(r['macs'] for r in runs)
    return [name, *map(tail, CURVES), f'{macs:.4f}', *metrics]


def draw(found: dict[str, list[dict]], panels: list[str], path: str) -> None:
    """One row of plots per panel, one column per curve."""
    figure, axes = plt.subplots(
        len(panels),
        len(CURVES),
        figsize=(4.2 * len(CURVES), 2.8 * len(panels)),
        squeeze=False,
    )
    for panel, row in zip(panels, axes):
        for key, axis in zip(CURVES, row):
            for index, name in enumerate(PANELS[panel]):
                for number, one in enumerate(found[name]):
                    label = name if number == 0 else None
                    curves = one['curves']
                    axis.plot(
                        curves['step'],
                        curves[key],
                        label=label,
                        color=f'C{index}',
                    )
            axis.set_title(f'{panel}: {key}')
            axis.set_xlabel('iteration')
        row[0].legend(fontsize='small')
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run, print, draw."""
    args = parse_args()
    base = load_config(args)
    if args.work_dir is None:
        base.work_dir += '_ablation'
    found = {}
    names = dict.fromkeys(n for panel in args.panels for n in PANELS[panel])
    for name in names:
        found[name] = []
        for seed in args.seeds:
            cfg = variant_config(base, name, seed, args.search, args.fine_tune)
            run(cfg)
            found[name].append(read_run(cfg.work_dir))
    metric = next(iter(found[name][0]['metrics']), 'metric')
    header = ['variant', *CURVES, 'MACs', metric]
    rows = [row_of(name, runs) for name, runs in found.items()]
    print(table(rows, header))
    with open(osp.join(base.work_dir, 'ablation.csv'), 'w') as file:
        csv.writer(file).writerows([header, *rows])
    draw(found, args.panels, osp.join(base.work_dir, 'ablation.png'))
    print(f'Written: {base.work_dir}/ablation.csv, ablation.png')


if __name__ == '__main__':
    with clear_errors():
        main()
