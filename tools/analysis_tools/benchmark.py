#!/usr/bin/env python
"""Compare a search step with a plain training step, interleaved in one run.

Every round times one plain step and one search step on the same input, so
that a busy machine slows both. Printed: medians and the median of ratios.
"""

import argparse
import statistics
import sys
import time
from typing import Callable

import torch
from mmengine.optim import OptimWrapper
from torch import nn
from torch.nn import functional as F

import mmdhp
from mmdhp.engine import PruningOptimWrapperConstructor
from mmdhp.engine.report import table
from mmdhp.registry import MODELS

METHODS = {
    'dhp': dict(type='mmdhp.DHP', regularization=1e-4),
    'hsn': dict(type='mmdhp.HSN'),
}

# name → (network, input, optimizer, tied modules)
CASES = {
    'resnet56': (
        dict(type='mmdhp.CIFARResNet', depth=56),
        (64, 3, 32, 32),
        dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4),
        (),
    ),
    'srresnet': (
        dict(type='mmdhp.SRResNet'),
        (4, 3, 24, 24),
        dict(type='Adam', lr=1e-4),
        (('head.0', 'upsampler.*'),),
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
        '--method', choices=METHODS, default='dhp', help='default: dhp'
    )
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--threads', type=int, help='CPU threads')
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu'
    )
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown:
        parser.error(f'unknown {sorted(unknown)}; there are {sorted(CASES)}')
    return args


def loss_of(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """A mean-square loss on the last output: costs next to nothing."""
    out = model(batch)
    out = out[-1] if isinstance(out, tuple) else out
    return F.mse_loss(out, torch.zeros_like(out))


def make_step(
    model: nn.Module,
    wrapper: OptimWrapper,
    batch: torch.Tensor,
    before: Callable[[nn.Module], None] = nn.Module.train,
) -> Callable[[], None]:
    """One training step as MMEngine runs it."""

    def step() -> None:
        before(model)
        wrapper.update_params(loss_of(model, batch))

    return step


def timed(step: Callable[[], None], device: torch.device) -> float:
    """Seconds of one call."""
    if device.type == 'cuda':
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device.type == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def run_case(
    name: str, method: str, rounds: int, device: torch.device
) -> list[str]:
    """Measure one network; return the cells of its row."""
    config, shape, optimizer, groups = CASES[name]
    torch.manual_seed(0)
    batch = torch.rand(shape, device=device)
    plain = MODELS.build(config).to(device).train()
    searched = MODELS.build(config).to(device).train()
    kind = getattr(torch.optim, optimizer['type'])
    arguments = {k: v for k, v in optimizer.items() if k != 'type'}
    plain_step = make_step(
        plain, OptimWrapper(kind(plain.parameters(), **arguments)), batch
    )
    constructor = PruningOptimWrapperConstructor(
        dict(
            optimizer=optimizer,
            pruner=dict(
                target=dict(macs=0.4),
                input_shape=shape[1:],
                groups=groups,
                **METHODS[method],
            ),
        )
    )
    wrapper = constructor(searched)
    wrapper.has_hook = True  # nothing here ends the search
    wrapper.pruner.enter(searched)
    wrapper.pruner.push()
    search_step = make_step(searched, wrapper, batch, wrapper.pruner.set_mode)
    for _ in range(3):
        plain_step()
        search_step()
    pairs = [
        (timed(plain_step, device), timed(search_step, device))
        for _ in range(rounds)
    ]
    return [
        name,
        'x'.join(map(str, shape)),
        f'{1e3 * statistics.median(p for p, _ in pairs):.1f}',
        f'{1e3 * statistics.median(s for _, s in pairs):.1f}',
        f'{statistics.median(s / p for p, s in pairs):.3f}',
    ]


def main() -> None:
    """Measure and print."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    print(
        f'mmdhp {mmdhp.__version__}, torch {torch.__version__}, {device}, '
        f'{torch.get_num_threads()} threads, {args.rounds} rounds, '
        f'{args.method}'
    )
    rows = [
        run_case(name, args.method, args.rounds, device) for name in args.cases
    ]
    header = ['network', 'input', 'plain ms', 'search ms', 'ratio']
    print(table(rows, header))


if __name__ == '__main__':
    main()
    sys.exit(0)
