"""Inputs that an architecture runs on, and its outputs."""

import random
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmdhp.graph import call_model

from .entry import Entry, Shapes
from .process import brief
from .weights import calibrate


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
