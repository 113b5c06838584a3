"""Remove units from a model for good."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdhp.graph import ChannelGraph, GraphError
from mmdhp.graph.restoring import restored_on_error

from .resizing import derive_again, refresh, set_attributes

Positions = Mapping[tuple[str, int], Tensor]


def take(tensor: Tensor, name: str, positions: Positions) -> Tensor:
    """Select the kept positions of a tensor shaped like a parameter.

    Args:
        tensor (Tensor): The parameter, or anything of its shape: a gradient,
            momentum, or moment.
        name (str): State-dict name of the parameter.
        positions (Mapping): From :meth:`ChannelGraph.positions`.

    Returns:
        Tensor: A smaller copy; ``tensor`` itself if no axis is cut.
    """
    for axis in range(tensor.dim()):
        kept = positions.get((name, axis))
        if kept is not None and len(kept) < tensor.shape[axis]:
            tensor = tensor.index_select(axis, kept.to(tensor.device))
    return tensor


@torch.no_grad()
def shrink(model: nn.Module, graph: ChannelGraph, keep: Tensor) -> nn.Module:
    """Cut every parameter and buffer to the kept units, in place.

    Classes, key names and parameter objects stay; gradients are cleared, and
    attributes that mirror shapes are updated. If the model's own code fails
    on the way, all is put back. The graph describes the model
    before the cut; trace again to cut again.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.
        keep (Tensor): bool mask, shape ``(U, )``.

    Returns:
        nn.Module: ``model``.

    Raises:
        ValueError: If ``keep`` does not fit the graph or empties a group.
        GraphError: If the model is not the traced one; nothing is changed.
    """
    positions = graph.positions(keep)
    check_model(model, graph)
    with restored_on_error(model):
        for name, tensor in tensors_of(model).items():
            cut = take(tensor.data, name, positions)
            if cut is not tensor.data and cut.shape != tensor.shape:
                tensor.data = cut.clone(memory_format=torch.contiguous_format)
                tensor.grad = None
        refresh(model)
        set_attributes(model, graph.attribute_values(keep))
        derive_again(model)
    return model


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, those outside state dicts too."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def check_model(model: nn.Module, graph: ChannelGraph) -> None:
    """Check that a graph describes a model.

    Parameters and whatever holds units must be as traced; caches may differ.

    Raises:
        GraphError: If they are not.
    """
    found = {name: tuple(t.shape) for name, t in tensors_of(model).items()}
    members = [m.name for group in graph.groups for m in group.members]
    names = dict.fromkeys([n for n, _ in model.named_parameters()] + members)
    wrong = [
        f'{name}: {found.get(name, "missing")} against '
        f'{graph.shapes.get(name, "nothing")}'
        for name in names
        if found.get(name) != graph.shapes.get(name)
    ]
    if wrong:
        raise GraphError(
            'The model is not the one that was traced (or was shrunk since); '
            f'tensors with other shapes: {"; ".join(wrong[:5])}. Trace it '
            'again.'
        )
