#!/usr/bin/env python
"""Time exported models on the CPU: original against pruned, by runtime.

Networks are cut to uniform widths at once, because widths and not weights
make the time. Passes of all networks and runtimes are interleaved, so that a
busy machine slows all of them. Printed: medians, and their ratio beside that
of the MACs.
"""

import argparse
import copy
import os.path as osp
import tempfile
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import mmdhp
from mmdhp.costs.timing import latencies
from mmdhp.deploy.errors import ExportError
from mmdhp.deploy.formats import (
    FORMATS,
    Capture,
    Run,
    chosen_formats,
    run_onnx,
    write_file,
)
from mmdhp.deploy.network import DeployedNetwork, deployed
from mmdhp.registry import PRUNERS
from mmdhp.text import table

ROOT = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))

# name → (config, input of the pruning, MACs left, timed batches)
CASES = {
    'srresnet': (
        'configs/srresnet/srresnet_x4_sample.py',
        (3, 24, 24),
        0.4,
        [(1, 3, 96, 96)],
    ),
    'resnet20': (
        'configs/resnet_cifar/resnet20_cifar10.py',
        (3, 32, 32),
        0.5,
        [(1, 3, 32, 32), (64, 3, 32, 32)],
    ),
}


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'cases',
        nargs='*',
        default=list(CASES),
        help=f'any of {", ".join(CASES)} (default: all)',
    )
    parser.add_argument(
        '--format',
        default='onnx',
        help=f'of {", ".join(FORMATS)}, with commas between; PyTorch itself '
        'is always timed (default: onnx)',
    )
    parser.add_argument(
        '--divisor',
        type=int,
        default=16,
        help='kept channels are a multiple of it (default: 16)',
    )
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    unknown = sorted(set(args.cases) - set(CASES))
    if unknown:
        parser.error(f'unknown {unknown}; there are {sorted(CASES)}')
    try:
        args.formats = chosen_formats(args.format)
    except (ValueError, ExportError) as error:
        parser.error(str(error))
    return args


def build_pair(name: str, divisor: int) -> tuple[list[DeployedNetwork], float]:
    """A network and its pruned self, ready for export.

    Returns:
        tuple[list[DeployedNetwork], float]: Both, and the MACs that are left
        as a fraction.
    """
    config, shape, target, _ = CASES[name]
    cfg = Config.fromfile(osp.join(ROOT, config))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model).eval()
    pruned = copy.deepcopy(model)
    pruner = PRUNERS.build(
        dict(
            type='OneShot',
            target=dict(macs=target),
            input_shape=shape,
            divisor=divisor,
        )
    )
    pruner.attach(pruned)
    keep = pruner.select()
    mmdhp.shrink(pruned, pruner.graph, keep)
    networks = [deployed(m, cfg, shape)[0].eval() for m in (model, pruned)]
    return networks, float(pruner.ratios(keep)[0])


def runs_of(
    networks: Sequence[DeployedNetwork],
    formats: Sequence[str],
    batch: torch.Tensor,
    threads: int,
    folder: str,
) -> list[Run]:
    """PyTorch and every format, each for all networks."""
    runs: list[Run] = [lambda x, n=n: list(n(x)) for n in networks]
    captures = [Capture(n, batch, 'none', ['output']) for n in networks]
    for name in formats:
        for number, capture in enumerate(captures):
            path = write_file(capture, name, folder, str(number), '')
            if name == 'onnx':
                runs.append(run_onnx(path, threads))
            else:
                runs.append(FORMATS[name].run(path))
    return runs


def measure(name: str, args: argparse.Namespace) -> list[list[str]]:
    """Time one case; return its rows."""
    networks, macs = build_pair(name, args.divisor)
    rows = []
    for shape in CASES[name][3]:
        batch = torch.rand(shape)
        with tempfile.TemporaryDirectory() as folder:
            runs = runs_of(networks, args.formats, batch, args.threads, folder)
            times = latencies(
                runs, batch, lambda run, images: run(images), args.rounds
            )
        for number, runtime in enumerate(['PyTorch', *args.formats]):
            large, small = times[2 * number : 2 * number + 2]
            rows.append(
                [
                    name,
                    'x'.join(map(str, shape)),
                    runtime,
                    f'{large:.2f}',
                    f'{small:.2f}',
                    f'{small / large:.3f}',
                    f'{macs:.3f}',
                    f'{small / large / macs:.2f}',
                ]
            )
    return rows


def main() -> None:
    """Measure and print."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    print(
        f'mmdhp {mmdhp.__version__}, torch {torch.__version__}, CPU, '
        f'{args.threads} threads, {args.rounds} rounds, divisor '
        f'{args.divisor}'
    )
    rows = [row for name in args.cases for row in measure(name, args)]
    header = [
        'network',
        'input',
        'runtime',
        'original ms',
        'pruned ms',
        'ratio',
        'MACs',
        'ratio / MACs',
    ]
    print(table(rows, header))


if __name__ == '__main__':
    main()
