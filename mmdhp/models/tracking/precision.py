"""What must not be computed in half precision."""

import contextlib
from typing import Any

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def at_least_single(tensor: Tensor) -> Tensor:
    """A tensor of half precision in single precision; others as they are."""
    return tensor.float() if tensor.dtype in HALF else tensor


def without_autocast(tensor: Tensor) -> Any:
    """A context in which autocast is off on the device of a tensor."""
    if tensor.is_meta:  # has no autocast
        return contextlib.nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)
