"""Give a model more units than it has: the inverse of a cut.

Source: Li et al., The Heterogeneity Hypothesis: Finding Layer-Wise
Differentiated Network Architectures, CVPR 2021, arXiv:2006.16242. There,
every network takes a width multiplier; here, any traced one is widened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor, nn

from mmdhp.graph import ChannelGraph, GraphError
from mmdhp.graph.restoring import restored_on_error

from .initialisation import Initialiser, drop_pretrained
from .resizing import derive_again, refresh, set_attributes
from .shrink import check_model, tensors_of

_ATTRIBUTE = 'mmdhp_baseline'


@dataclass(frozen=True)
class Baseline:
    """What a widened model was, which its copies remember, too.

    Args:
        graph (ChannelGraph): Graph before.
        factor (float): By which every group was widened.
        initialiser (Initialiser): Draws weights at any widths.
        input_shape (tuple[int]): Shape at which the graph counts MACs, without
            the batch axis; empty if that is not known.
    """

    graph: ChannelGraph
    factor: float
    initialiser: Initialiser
    input_shape: tuple[int, ...] = ()

    @property
    def widths(self) -> dict[str, int]:
        """Units of every prunable group, by name."""
        return {group.name: group.size for group in self.graph.groups}


def baseline_of(model: nn.Module) -> Optional[Baseline]:
    """What a model was before it was widened; None if it never was."""
    return getattr(model, _ATTRIBUTE, None)


def remember(model: nn.Module, baseline: Baseline) -> None:
    """Let a model know its baseline, in place."""
    setattr(model, _ATTRIBUTE, baseline)


def widened_widths(
    model: nn.Module, graph: ChannelGraph, factor: float
) -> dict[str, int]:
    """Units of every group behind :func:`widen`, by name.

    Groups that parameters without gradients take part in keep their width:
    nothing would tell the values of more of them.

    Raises:
        ValueError: If the factor is no number of at least 1.
    """
    number = isinstance(factor, (int, float)) and factor is not True
    if not number or not 1 <= factor < float('inf'):
        raise ValueError(
            f'factor is {factor!r}, but a number of at least 1 is needed, by '
            'which every width is multiplied; 2 is usual.'
        )
    fixed = {n for n, p in model.named_parameters() if not p.requires_grad}
    return {
        group.name: group.size
        if any(member.name in fixed for member in group.members)
        else round(group.size * factor)
        for group in graph.groups
    }


@torch.no_grad()
def widen(model: nn.Module, graph: ChannelGraph, factor: float) -> nn.Module:
    """Multiply the width of every prunable group, in place.

    All parameters are drawn anew, as the architecture initialises itself, so
    the model should be a freshly built one; it must not be trained yet.
    Classes, key names and parameter objects stay. Channels that cannot be
    pruned cannot be widened either, and keep their width. The graph describes
    the model before; trace again to prune it.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.
        factor (float): At least 1; widths are rounded.

    Returns:
        nn.Module: ``model``; :func:`baseline_of` tells what it was.

    Raises:
        ValueError: If the factor is below 1.
        GraphError: If the model is not the traced one; nothing is changed.
    """
    copies = _copies(graph, widened_widths(model, graph, factor))
    check_model(model, graph)
    with restored_on_error(model, values=True):
        initialiser = Initialiser.of(model)
        drop_pretrained(model)
        _repeat(model, graph, copies)
        refresh(model)
        set_attributes(model, _attribute_values(graph, copies))
        initialiser.apply(model)
        derive_again(model)
        remember(model, Baseline(graph, factor, initialiser))
    return model


def _repeat(model: nn.Module, graph: ChannelGraph, copies: Tensor) -> None:
    """Repeat positions of every tensor, in place."""
    tensors = tensors_of(model)
    for (name, axis), units in graph.axis_units.items():
        if name not in tensors:  # another name of a shared tensor
            continue
        counts = copies[torch.from_numpy(units)]
        if (counts > 1).any():
            tensor = tensors[name]
            index = torch.arange(len(units)).repeat_interleave(counts)
            wider = tensor.data.index_select(axis, index.to(tensor.device))
            tensor.data, tensor.grad = wider, None


def _copies(graph: ChannelGraph, widths: Mapping[str, int]) -> Tensor:
    """How often every unit appears, ones behind; shape ``(U + F + 1, )``."""
    copies = torch.zeros(graph.num_units, dtype=torch.long)
    for group in graph.groups:
        width = widths[group.name]
        sources = torch.arange(width) * group.size // width
        copies[group.start : group.stop] = torch.bincount(
            sources, minlength=group.size
        )
    return graph.extend(copies)


def _attribute_values(graph: ChannelGraph, copies: Tensor) -> dict[str, int]:
    """Values of attributes that count positions, as for a cut."""
    return {
        str(attribute): int(copies[torch.from_numpy(units)].amax(1).sum())
        for attribute, units in graph.attributes.items()
    }


def check_widened(
    model: nn.Module, graph: ChannelGraph, factor: float, wide: ChannelGraph
) -> None:
    """Check that every group of a widened model has the width it should have.

    Args:
        model (nn.Module): The widened model.
        graph (ChannelGraph): Before.
        factor (float): By which it was widened.
        wide (ChannelGraph): Behind.

    Raises:
        GraphError: If groups differ; lists them.
    """
    expected = widened_widths(model, graph, factor)
    found = {group.name: group.size for group in wide.groups}
    wrong = [
        f'{name} ({expected.get(name, "no group")} expected, '
        f'{found.get(name, "no group")} found)'
        for name in dict.fromkeys([*expected, *found])
        if expected.get(name) != found.get(name)
    ]
    if wrong:
        raise GraphError(
            f'{type(model).__name__} has other channel groups when it is '
            f'{factor} times as wide: {"; ".join(wrong[:5])}. Its code '
            'computes something from widths that does not scale. Add these '
            'modules to `exclude`, so that they keep their width.'
        )
