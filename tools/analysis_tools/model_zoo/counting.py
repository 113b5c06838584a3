"""MACs of an architecture by PyTorch's counter."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from .entry import Entry
from .running import leaves

# Products of two activations: nobody's weight, so no layer's cost.
_ATTENTION = ('bmm', 'baddbmm', 'scaled_dot_product')


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
