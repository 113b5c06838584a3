"""Importance of channel units from the weights of a trained model."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.normalization import GroupNorm, LayerNorm

from mmdhp.graph import ChannelGraph

NORMS = (nn.modules.batchnorm._BatchNorm, _InstanceNorm, GroupNorm, LayerNorm)


def filters(model: nn.Module) -> dict[str, tuple[nn.Parameter, int]]:
    """Weights that make channels.

    Args:
        model (nn.Module): Any model.

    Returns:
        dict: State-dict name → the parameter and its axis of outputs.
    """
    found = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if parameter.dim() >= 2:
                turned = isinstance(module, _ConvTransposeNd)
                found[name] = (parameter, 1 if turned else 0)
    return found


def norm_parameters(model: nn.Module, *names: str) -> dict[str, nn.Parameter]:
    """Per-channel parameters of the norms of a model, by state-dict name.

    Args:
        model (nn.Module): Any model.
        *names (str): ``'weight'`` and ``'bias'``, or one of them.
    """
    return {
        f'{prefix}.{name}'.lstrip('.'): parameter
        for prefix, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, NORMS) and name in names
    }


def collect(
    graph: ChannelGraph, values: Mapping[str, tuple[int, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Add up values per position over all positions of a unit.

    Args:
        graph (ChannelGraph): The graph.
        values (Mapping): Parameter name → axis, and the value of every
            position along it, shape ``(size, )``.

    Returns:
        tuple[Tensor, Tensor]: Sum and number of values of every unit, float64,
        shape ``(U, )`` each.
    """
    total = torch.zeros(graph.num_units + graph.num_frozen + 1).double()
    count = torch.zeros_like(total)
    for name, (axis, value) in values.items():
        if (name, axis) in graph.axis_units:
            units = torch.from_numpy(graph.axis_units[name, axis]).long()
            total.index_add_(0, units, value.detach().double().cpu())
            count.index_add_(0, units, torch.ones(len(units)).double())
    return total[: graph.num_units], count[: graph.num_units]


def filter_norms(model: nn.Module, graph: ChannelGraph, order: int) -> Tensor:
    """Norm of a unit's filters, relative to the mean of their layer.

    Source: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017,
    arXiv:1608.08710. Dividing by the mean makes layers comparable.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.
        order (int): 1 or 2.

    Returns:
        Tensor: Shape ``(U, )``; NaN for units that no filter makes.
    """

    def norms(weight: Tensor, axis: int) -> Tensor:
        rows = weight.detach().transpose(0, axis).flatten(1).double()
        norm = rows.norm(p=order, dim=1)
        return norm / norm.mean().clamp(min=torch.finfo(norm.dtype).tiny)

    values = {
        name: (axis, norms(weight, axis))
        for name, (weight, axis) in filters(model).items()
    }
    total, count = collect(graph, values)
    return total / count


def norm_scales(model: nn.Module, graph: ChannelGraph) -> Tensor:
    """Magnitude of the norm scales γ of a unit.

    Source: Liu et al., Learning Efficient Convolutional Networks through
    Network Slimming, ICCV 2017, arXiv:1708.06519.

    Args:
        model (nn.Module): The traced model.
        graph (ChannelGraph): Its graph.

    Returns:
        Tensor: Shape ``(U, )``; NaN for units without a norm.
    """
    scales = norm_parameters(model, 'weight')
    total, count = collect(graph, {n: (0, p.abs()) for n, p in scales.items()})
    return total / count


def taylor_terms(model: nn.Module, graph: ChannelGraph) -> Tensor:
    """Squared first-order change of the loss without a unit, for one batch.

    A gate behind a norm has the gradient ``γ·∂L/∂γ + β·∂L/∂β``; behind a
    layer without a norm it is that of the layer's filters and biases.

    Source: Molchanov et al., Importance Estimation for Neural Network
    Pruning, CVPR 2019, arXiv:1906.10771, eq. 8.

    Args:
        model (nn.Module): The traced model, with gradients.
        graph (ChannelGraph): Its graph.

    Returns:
        Tensor: Shape ``(U, )``; NaN for units without gradients.
    """

    def products(parameters: Mapping[str, tuple[Tensor, int]]) -> dict:
        found = {}
        for name, (parameter, axis) in parameters.items():
            if parameter.grad is not None:
                rows = (parameter.detach() * parameter.grad).double()
                others = [i for i in range(rows.dim()) if i != axis]
                found[name] = (axis, rows.sum(others) if others else rows)
        return found

    norms = norm_parameters(model, 'weight', 'bias')
    vectors = {
        name: (parameter, 0)
        for name, parameter in model.named_parameters()
        if parameter.dim() == 1 and name not in norms
    }
    gates, normed = collect(
        graph, products({name: (p, 0) for name, p in norms.items()})
    )
    rows, made = collect(graph, products({**filters(model), **vectors}))
    change = torch.where(normed > 0, gates, rows)
    return torch.where(normed + made > 0, change**2, torch.nan)
