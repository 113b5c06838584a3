"""Several processes of one test, forked from a server that knows PyTorch."""

import datetime
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tools'))

import torch
from mmengine.config import Config
from toy import hook_of, train, weights

LIMIT = 300  # seconds, on a busy machine


def run_ranks(count, function, *arguments):
    """Call a function in processes of one gloo group.

    Args:
        count (int): Number of processes.
        function (Callable): Of a module; gets the rank and the arguments.
        *arguments: Picklable.

    Returns:
        list: What each process returned, or the exception it raised.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmengine.runner', 'mmdhp.engine'])
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(
                target=_rank, args=(folder, rank, count, function, arguments)
            )
            for rank in range(count)
        ]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join(LIMIT)
        finally:
            for process in processes:
                process.kill()
        return [
            torch.load(f'{folder}/{rank}.pt', weights_only=False)
            for rank in range(count)
        ]


def _rank(folder, rank, count, function, arguments):
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count)
    )
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/meeting',
        rank=rank,
        world_size=count,
        timeout=datetime.timedelta(seconds=LIMIT),
    )
    try:
        result = function(rank, *arguments)
    except Exception as error:  # the test looks at it
        result = error
    torch.save(result, f'{folder}/{rank}.pt')


def distributed(cfg):
    """A config for one of several processes on the CPU."""
    from mmdhp.cli.common import prepare_processes

    cfg = cfg.copy()
    cfg.launcher = 'pytorch'
    cfg.env_cfg = {'dist_cfg': {'backend': 'gloo'}}
    prepare_processes(cfg)
    return cfg


def train_rank(rank, content):
    """Train a config in one of several processes; return what it ends with."""
    return ending(train(distributed(Config(content))))


def ending(runner):
    """What a finished run ends with, as plain data."""
    hook, watch = hook_of(runner, 'PruningHook'), hook_of(runner, 'Watch')
    averages = [h for h in runner.hooks if type(h).__name__ == 'EMAHook']
    norms = runner.message_hub.log_scalars.get('train/grad_norm')
    average = averages and averages[0].ema_model.module.state_dict()
    owner = hook.pruner.graph.group_of_unit
    return {
        'losses': watch.losses,
        'classes': set(watch.classes),
        'identities': watch.identities,
        'weights': {k: v.clone() for k, v in weights(runner).items()},
        'average': average and {k: v.clone() for k, v in average.items()},
        'keep': hook.keep,
        'start': hook.start,
        'kept': {
            group.name: int(hook.keep[owner == i].sum())
            for i, group in enumerate(hook.pruner.graph.groups)
        },
        'dearest': dearest_unit(hook.pruner),
        'wrapper': type(runner.optim_wrapper).__name__,
        'model': type(runner.model).__name__,
        'clipped': 0 if norms is None else len(norms.data[0]),
        'mirrors': mirrors(getattr(runner.model, 'module', runner.model)),
    }


def dearest_unit(pruner):
    """MACs of the dearest unit, as a fraction of the network."""
    graph = pruner.graph
    full = graph.full()
    costs = []
    for unit in range(graph.num_units):
        keep = full.clone()
        keep[unit] = False
        costs.append(graph.macs() - graph.macs(keep))
    return max(costs) / pruner.baseline.macs()


def mirrors(model):
    """Sizes that modules state, beside those of their weights."""
    stated = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            sizes = module.out_channels, module.in_channels
        elif isinstance(module, torch.nn.Linear):
            sizes = module.out_features, module.in_features
        elif isinstance(module, torch.nn.BatchNorm2d):
            sizes = (module.num_features,)
        else:
            continue
        stated.append((name, sizes, tuple(module.weight.shape[: len(sizes)])))
    return stated
