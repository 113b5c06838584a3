"""An architecture that takes a pruned checkpoint.

An exported model carries a copy of this file, so that it loads where
``mmdhp`` is not installed.
"""

from typing import Optional

from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from mmengine.registry import MODELS
from .resizing import (
    named_tensors,
    read_channels,
    resize,
    resize_on_load,
)


@MODELS.register_module(force=True, name='Pruned')
def build_pruned(
    architecture: dict,
    channels: Optional[str] = None,
    data_preprocessor: Optional[dict] = None,
    backbone: Optional[dict] = None,
) -> nn.Module:
    """Build an architecture that loads checkpoints of any widths.

    The architecture itself is returned, not a wrapper: its class and keys are
    what they always were.

    Args:
        architecture (dict): The ``model`` that was pruned, as in its config.
        channels (str, optional): Path of an exported ``channels.json``; the
            model has its widths at once. Otherwise it gets them when a
            checkpoint is loaded.
        data_preprocessor (dict, optional): The Runner passes that of the
            config; the architecture gets it unless it has one.
        backbone (dict, optional): Not used. MMDetection's ``init_detector``
            wants to find it in the config of a model.

    Returns:
        nn.Module: The architecture.

    Raises:
        FileNotFoundError: If there is no file ``channels``.
        ValueError: If ``channels`` belongs to another architecture, or cannot
            be read.

    Examples:
        >>> model = dict(
        ...     type='mmdhp.Pruned',
        ...     architecture=dict(type='ImageClassifier'),  # as it was
        ...     channels='work_dirs/run/pruned/channels.json',
        ... )
    """
    architecture = dict(architecture)
    if data_preprocessor is not None:
        architecture.setdefault('data_preprocessor', data_preprocessor)
    model = ROOT_MODELS.build(architecture)
    if channels is not None:
        pruned = read_channels(channels)
        shapes = {name: tuple(t.shape) for name, t in named_tensors(model)}
        shapes.update({k: tuple(v) for k, v in pruned['shapes'].items()})
        resize(model, shapes, pruned.get('attributes'))
    return resize_on_load(model)
