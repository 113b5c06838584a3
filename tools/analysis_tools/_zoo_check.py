"""What is found out about one architecture."""

import copy
import functools
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch
from _zoo_entry import Entry, Shapes
from _zoo_process import brief
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import mmdhp
from mmdhp.graph import call_model

TOLERANCE = 1e-4  # relative, of float32 arithmetic
_LEFT_OUT = ('output', 'single')
_POWER_ITERATIONS = 10
_MILDER = (0.8, 0.95, 0.99)  # shares that masks keep, one after another
# Products of two activations: nobody's weight, so no layer's cost.
_ATTENTION = ('bmm', 'baddbmm', 'scaled_dot_product')


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


# -------------------------------------------------------------------- weights
@torch.no_grad()
def randomise(model: nn.Module) -> None:
    """Give parameters values behind which no channel hides, in place.

    Zeros (residual scales, position tables) and ones (norms) would hide that
    a wrong channel was cut; weights too small would drown it on its way to
    the output.
    """
    for module in model.modules():
        if isinstance(module, (_ConvNd, nn.Linear)):
            fan_in = max(module.weight[0].numel(), 1)
            module.weight.normal_(0, (2 / fan_in) ** 0.5)
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or not parameter.numel():
            continue
        low, high = parameter.aminmax()
        if parameter.dim() == 1 and name.endswith('weight'):
            parameter.uniform_(0.5, 1.5)
        elif not 1e-3 < max(abs(low), abs(high)) < 1e3:  # or uninitialised
            parameter.normal_(0, 0.3)
        elif low == high:
            parameter.mul_(torch.empty_like(parameter).uniform_(0.5, 1.5))
    settle_spectral_norms(model)


def settle_spectral_norms(model: nn.Module) -> None:
    """Let them know their weights, in place; unsettled, they amplify."""
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                for _ in range(_POWER_ITERATIONS):
                    hook.compute_weight(module, do_power_iteration=True)


@torch.no_grad()
def calibrate(entry: Entry, model: nn.Module, inputs: Any) -> None:
    """Set batch norms to the statistics of these inputs, in place."""
    norms = [
        m
        for m in model.modules()
        if isinstance(m, _BatchNorm) and m.running_var is not None
    ]
    saved = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        call_model(model, inputs, entry.forward)
    except ValueError:  # one value per channel has no variance
        pass
    finally:
        for norm, momentum in zip(norms, saved):
            norm.eval()
            norm.momentum = momentum
            norm.running_var += 0.1 * norm.running_var.mean() + 1e-3


# ------------------------------------------------------------------------ run
def accepted_inputs(entry: Entry, model: nn.Module) -> tuple[Tensor, ...]:
    """Random inputs of the first shapes that the network runs on.

    Its batch norms are calibrated to them, in place.

    Raises:
        ValueError: If there are none; with the reasons.
    """
    problems: dict[str, None] = {}
    for shapes in entry.inputs:
        inputs = make_inputs(shapes)
        problem = refusal(entry, model, inputs)
        if problem is None:
            return inputs
        problems[problem] = None
    raise ValueError(
        f'runs on none of {len(entry.inputs)} inputs: {"; ".join(problems)}'
    )


def make_inputs(shapes: Shapes) -> tuple[Tensor, ...]:
    """Images of any shape; a single axis counts time steps."""
    return tuple(
        torch.randn(shape) if len(shape) > 1 else torch.arange(*shape)
        for shape in shapes
    )


def refusal(entry: Entry, model: nn.Module, inputs: Any) -> Optional[str]:
    """Why a network does not run on some inputs; None if it does."""
    try:
        calibrate(entry, model, inputs)
        found = leaves(entry, model, inputs)
    except Exception as error:  # anything that a foreign forward may raise
        return brief(error)
    if not found:
        return 'it returns no tensor'
    finite = sum(int(leaf.isfinite().sum()) for leaf in found)
    if finite <= 0.5 * sum(leaf.numel() for leaf in found):
        return 'most of its outputs are not finite'
    return None


@torch.no_grad()
def leaves(entry: Entry, model: nn.Module, inputs: Any) -> list[Tensor]:
    """All tensors that the network returns; the same noise at each call."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    found = tree_leaves(call_model(model, inputs, entry.forward))
    return [leaf for leaf in found if isinstance(leaf, Tensor)]


def finite_leaves(
    entry: Entry, before: list[Tensor], model: nn.Module, inputs: Any
) -> list[Tensor]:
    """The outputs, with zeros where those before pruning are not finite.

    Detectors give infinite values to places outside an image.
    """
    return [
        leaf.where(known.isfinite(), torch.zeros_like(leaf))
        if leaf.shape == known.shape
        else leaf
        for leaf, known in zip(leaves(entry, model, inputs), before)
    ]


class _SharedFactor(TorchDispatchMode):
    """Counts batched products in which all samples share one factor.

    So PyTorch runs a linear layer on inputs that are not contiguous.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.bmm.default:
            shared = any(t.stride(0) == 0 for t in args if len(t) > 1)
            self.flops += 2 * out.numel() * args[0].shape[2] * shared
        return out


def _deform_flops(
    x: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Any, **__: Any
) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def _counter() -> FlopCounterMode:
    """PyTorch's counter, which does not know torchvision's operators."""
    known = {}
    if hasattr(torch.ops.torchvision, 'deform_conv2d'):
        known[torch.ops.torchvision.deform_conv2d] = _deform_flops
    return FlopCounterMode(display=False, custom_mapping=known)


def count(
    entry: Entry, model: nn.Module, inputs: Any
) -> tuple[float, list[Tensor]]:
    """MACs of one sample in layers with weights, by PyTorch's counter."""
    model.requires_grad_(False)  # the counter hooks into gradients
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it is not counted
    try:
        with _counter() as counter, _SharedFactor() as shared:
            outputs = leaves(entry, model, inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    flops = shared.flops + sum(
        number
        for operator, number in counter.get_flop_counts()['Global'].items()
        if not any(word in str(operator) for word in _ATTENTION)
    )
    macs = flops / 2 / len(inputs[0])
    return (int(macs) if macs == int(macs) else macs), outputs


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
