"""Proof that a trace is right: masked output equals shrunk output."""

import copy
from collections.abc import Sequence
from typing import Any, Callable, Optional

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmdhp.graph import ChannelGraph, Inputs, call_model
from mmdhp.graph.restoring import same_globals

from .forwards import plain_forwards
from .shrink import shrink


@torch.no_grad()
def mask(model: nn.Module, graph: ChannelGraph, keep: Tensor) -> None:
    """Zero every parameter and buffer position of removed units, in place.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.
        keep (Tensor): bool mask, shape ``(U, )``.
    """
    tensors: dict[str, Tensor] = dict(model.named_parameters())
    tensors.update(model.named_buffers())
    gates = graph.extend(graph.check_keep(keep))
    for (name, axis), units in graph.axis_units.items():
        if name not in tensors:  # another name of a shared tensor
            continue
        tensor = tensors[name]
        stays = gates[torch.from_numpy(units)].to(tensor.device)
        shape = [-1 if i == axis else 1 for i in range(tensor.dim())]
        tensor.masked_fill_(~stays.reshape(shape), 0)


def verify(
    model: nn.Module,
    graph: ChannelGraph,
    keep: Tensor,
    inputs: Inputs,
    *,
    forward: Optional[Callable[[nn.Module, Any], Any]] = None,
    relative: bool = False,
) -> float:
    """Compare a masked and a shrunk copy of a model.

    Both copies run in evaluation mode; the model itself is not changed. What
    :attr:`ChannelGraph.safe_norms` names computes something else behind a cut
    by the user's own wish: the shrunk copy must run with it, and all the rest
    is compared with those modules passing their input on.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.
        keep (Tensor): bool mask, shape ``(U, )``.
        inputs (Tensor | tuple | dict): Inputs to compare on.
        forward (Callable, optional): As for :func:`trace`.
        relative (bool): Divide by the largest masked output in magnitude.
            Defaults to False.

    Returns:
        float: Largest absolute (or relative) difference over all outputs;
        infinity where shapes or output structure differ or a value is not
        finite.
    """
    with same_globals():
        return _compare(model, graph, keep, inputs, forward, relative)


def _compare(
    model: nn.Module,
    graph: ChannelGraph,
    keep: Tensor,
    inputs: Inputs,
    forward: Optional[Callable],
    relative: bool,
) -> float:
    with plain_forwards(model):
        masked, shrunk = copy.deepcopy(model), copy.deepcopy(model)
    mask(masked, graph, keep)
    shrink(shrunk, graph, keep)
    for twin in (masked, shrunk):  # OpenMMLab's backbones return nothing here
        twin.eval()
    with torch.no_grad():
        _bypass(masked, graph.safe_norms)
        expected = _outputs(masked, inputs, forward)
        try:
            if graph.safe_norms:
                _outputs(shrunk, inputs, forward)
                _bypass(shrunk, graph.safe_norms)
            found = _outputs(shrunk, inputs, forward)
        except Exception:  # whatever the model's code raises
            return float('inf')
    return _difference(expected, found, relative)


def _bypass(model: nn.Module, names: Sequence[str]) -> None:
    """Let modules pass their input on, in place."""
    for name in names:
        model.get_submodule(name).__dict__['forward'] = _first


def _first(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return x


def _outputs(
    model: nn.Module, inputs: Inputs, forward: Optional[Callable]
) -> list[Tensor]:
    leaves = tree_leaves(call_model(model, inputs, forward))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _difference(
    expected: list[Tensor], found: list[Tensor], relative: bool
) -> float:
    if [t.shape for t in expected] != [t.shape for t in found]:
        return float('inf')
    worst = 0.0
    for a, b in zip(expected, found):
        if not a.numel():
            continue
        gap = (a.double() - b.double()).abs().max().item()
        if relative:
            gap /= max(a.double().abs().max().item(), 1e-30)
        if gap != gap:
            return float('inf')
        worst = max(worst, gap)
    return worst
