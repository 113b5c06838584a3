"""Load a pruned checkpoint into the architecture it was pruned from."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from .resizing import derive_again, resize, state_attributes, state_shapes


def rebuild(model: nn.Module, state_dict: Mapping[str, Any]) -> nn.Module:
    """Resize a freshly built architecture to a checkpoint and load it.

    Args:
        model (nn.Module): The architecture at its original widths.
        state_dict (Mapping): A pruned checkpoint's state dict, or the whole
            checkpoint with a ``'state_dict'`` entry.

    Returns:
        nn.Module: ``model``, pruned, with the checkpoint's weights.

    Raises:
        ValueError: If the checkpoint belongs to another architecture; the
            model is unchanged then.
    """
    if 'state_dict' in state_dict:
        state_dict = state_dict['state_dict']
    attributes = state_attributes(state_dict)
    resize(model, state_shapes(state_dict), attributes)
    model.load_state_dict(dict(state_dict))
    derive_again(model)
    return model
