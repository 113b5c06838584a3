"""What is found out about one architecture."""

import copy
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import mmdhp

from .counting import count
from .entry import Entry
from .process import brief
from .running import accepted_inputs, finite_leaves, leaves
from .weights import randomise

TOLERANCE = 1e-4  # relative, of float32 arithmetic
_LEFT_OUT = ('output', 'single')
_MILDER = (0.8, 0.95, 0.99)  # shares that masks keep, one after another


@dataclass(frozen=True)
class Settings:
    """How architectures are examined.

    Args:
        ratio (float): Share of the units that the random mask keeps.
        seed (int): Seed of weights, inputs and mask.
        max_params (float): Networks with more parameters are left out.
    """

    ratio: float = 0.5
    seed: int = 0
    max_params: float = 400e6


def examine(entry: Entry, settings: Settings) -> Iterator[dict[str, Any]]:
    """Build, trace, verify, shrink and count; yield facts as they come.

    Args:
        entry (Entry): The architecture.
        settings (Settings): How.

    Yields:
        dict: What the last stage found; the key ``'stage'`` names the next.
    """
    torch.manual_seed(settings.seed)
    yield dict(stage='build')
    parameters = size_of(entry)
    if parameters > settings.max_params:
        yield dict(
            status='skipped',
            problem=f'{parameters / 1e6:.0f} M parameters, more than '
            f'--max-params {settings.max_params / 1e6:.0f} M',
        )
        return
    model = entry.build()
    model.eval()  # OpenMMLab's backbones return nothing here
    parameters = sum(p.numel() for p in model.parameters())
    yield dict(stage='run', parameters=parameters)
    randomise(model)
    inputs = accepted_inputs(entry, model)
    yield dict(stage='trace', input=[list(x.shape) for x in inputs])
    start = time.process_time()
    graph = mmdhp.trace(model, inputs, forward=entry.forward)
    seconds = time.process_time() - start
    keep = graph.random_keep(settings.ratio, settings.seed)
    yield dict(
        stage='verify', traced=True, seconds=seconds, **facts(graph, keep)
    )
    yield from proof(entry, model, graph, keep, inputs)


def proof(
    entry: Entry,
    model: nn.Module,
    graph: mmdhp.ChannelGraph,
    keep: Tensor,
    inputs: tuple[Tensor, ...],
) -> Iterator[dict[str, Any]]:
    """Compare with the masked network, shrink in place, run, count."""
    before = leaves(entry, model, inputs)
    facts = compare(entry, model, graph, keep, inputs)
    equal = facts['difference'] <= TOLERANCE
    problem = None if equal else 'masked and shrunk outputs differ'
    yield dict(stage='shrink', **facts)
    try:
        mmdhp.shrink(model, graph, keep)
        counted, after = count(entry, model, inputs)
    except Exception as error:  # anything that a foreign forward may raise
        problem = f'the shrunk network fails: {brief(error)}'
    else:
        yield dict(macs_counted=counted, effect=effect(before, after))
    yield dict(status='unverified' if problem else 'verified', problem=problem)


def compare(
    entry: Entry,
    model: nn.Module,
    graph: mmdhp.ChannelGraph,
    keep: Tensor,
    inputs: tuple[Tensor, ...],
) -> dict[str, Any]:
    """Difference of masked and shrunk outputs, and its precision.

    Outputs that do not differ by a single bit have lost the signal (random
    weights let it vanish, or saturate a last activation) and prove nothing:
    then milder masks are tried.
    """
    found = gap_of(entry, model, graph, keep, inputs)
    for ratio in _MILDER:
        if found['difference'] > 0 or keep.all():
            break
        keep = graph.random_keep(ratio)
        found = gap_of(entry, model, graph, keep, inputs)
    return found


def gap_of(
    entry: Entry,
    model: nn.Module,
    graph: mmdhp.ChannelGraph,
    keep: Tensor,
    inputs: tuple[Tensor, ...],
) -> dict[str, Any]:
    """Largest difference of masked and shrunk outputs, and its precision.

    Where it is too large, it is taken again in double precision: a network
    that decides by values (suppression, top-k) turns rounding into large
    differences, but then it does so for fewer values, while a wrong channel
    is wrong in any precision.
    """

    def gap(model: nn.Module, inputs: tuple[Tensor, ...]) -> float:
        before = leaves(entry, model, inputs)
        forward = functools.partial(finite_leaves, entry, before)
        return mmdhp.verify(
            model, graph, keep, inputs, forward=forward, relative=True
        )

    found = dict(difference=gap(model, inputs), precision='float32')
    if found['difference'] <= TOLERANCE:
        return found
    precise = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    try:
        difference = gap(copy.deepcopy(model).double(), precise)
    except Exception:  # code that insists on float32
        return found
    if difference <= TOLERANCE:
        found = dict(difference=difference, precision='float64')
    return found


def size_of(entry: Entry) -> int:
    """Number of parameters, without memory for them if possible."""
    try:
        with torch.device('meta'):
            model = entry.build()
    except Exception:  # its code looks at values
        model = entry.build()
    return sum(p.numel() for p in model.parameters())


def facts(graph: mmdhp.ChannelGraph, keep: Tensor) -> dict[str, Any]:
    """What a graph says about its network."""
    macs = int(graph.macs())
    predicted = int(graph.macs(keep))
    return dict(
        groups=len(graph.groups),
        units=graph.num_units,
        macs=macs,
        macs_predicted=predicted,
        macs_left=predicted / macs if macs else 1.0,
        params_left=int(graph.params(keep)) / max(int(graph.params()), 1),
        prunable_share=prunable_share(graph),
        frozen=frozen(graph),
        unused=len(graph.unused),
    )


def prunable_share(graph: mmdhp.ChannelGraph) -> float:
    """Share of the MACs in layers that some prunable unit belongs to."""
    total = prunable = 0.0
    for _, _, factor, rows, columns in graph.layer_terms():
        macs = factor * max(len(rows), 1) * max(len(columns), 1)
        total += macs
        first = min((*rows, *columns), default=graph.num_units)
        if first < graph.num_units:
            prunable += macs
    return prunable / total if total else 0.0


def frozen(graph: mmdhp.ChannelGraph) -> dict[str, dict[str, Any]]:
    """Number of frozen groups and channels by reason, and one reason."""
    found: dict[str, dict[str, Any]] = {}
    for group in graph.frozen:
        if group.code in _LEFT_OUT:
            continue
        own = found.setdefault(
            group.code, dict(groups=0, channels=0, reason='')
        )
        own['groups'] += 1
        own['channels'] += group.size
        own['reason'] = max(own['reason'], group.reason, key=len)
    return found


def effect(before: list[Tensor], after: list[Tensor]) -> float:
    """Largest relative change of an output by pruning.

    If it is near zero, the comparison of masked and shrunk proves little.
    """
    gaps = []
    for a, b in zip(before, after):
        if a.shape == b.shape and a.numel() and a.is_floating_point():
            a, gap = (t.nan_to_num(0, 0, 0).abs().max() for t in (a, a - b))
            gaps.append(float(gap / a.clamp(min=1e-30)))
    return max(gaps, default=0.0)


def warm_up() -> None:
    """Trace once, so that no network pays for what PyTorch loads lazily."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1))
    mmdhp.trace(copy.deepcopy(model), torch.zeros(2, 3, 8, 8))
