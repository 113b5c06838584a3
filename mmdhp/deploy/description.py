"""The description that lies beside a file, and in it."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdhp.version import __version__

from .checking import Difference
from .formats import AXES, DESCRIPTION, INPUT
from .loading import Source
from .network import CLASSIFICATION, RESTORATION, DeployedNetwork
from .preprocessing import Preprocessing, pipeline_of

FORMAT_VERSION = 1


@torch.no_grad()
def describe(
    source: Source,
    network: DeployedNetwork,
    facts: Preprocessing,
    example: Tensor,
    dynamic: str,
    outputs: Sequence[str],
) -> dict[str, Any]:
    """What one must know to run a file.

    Args:
        source (Source): The model.
        network (DeployedNetwork): What is exported of it.
        facts (Preprocessing): What its data preprocessor does.
        example (Tensor): A batch, shape ``(n, c, h, w)``.
        dynamic (str): What varies; see :data:`AXES`.
        outputs (Sequence[str]): Names of the outputs.

    Returns:
        dict[str, Any]: Plain values, for JSON.
    """
    free = AXES[dynamic]
    shape: list[Any] = [
        free.get(axis, size) for axis, size in enumerate(example.shape)
    ]
    found = {
        'format_version': FORMAT_VERSION,
        'model': type(source.model).__name__,
        'task': network.task,
        'inputs': [
            {
                'name': INPUT,
                'layout': 'NCHW',
                'dtype': 'float32',
                'shape': shape,
            }
        ],
        'outputs': [
            {
                'name': name,
                'dtype': str(tensor.dtype).rpartition('.')[2],
                'example_shape': list(tensor.shape),
            }
            for name, tensor in zip(outputs, network(example))
        ],
        'example_input_shape': list(example.shape),
        'preprocessing': preprocessing_facts(network, facts),
        'postprocessing': postprocessing_facts(network, facts),
        'test_pipeline': _plain(pipeline_of(source.cfg)),
        'classes': source.classes,
        'versions': {'mmdhp': __version__, 'torch': torch.__version__},
    }
    return found


def preprocessing_facts(
    network: DeployedNetwork, facts: Preprocessing
) -> dict[str, Any]:
    """What is left to do in front of the network, or why that is unknown."""
    if not facts.known:
        return {
            'included': False,
            'data_preprocessor': facts.kind,
            'note': 'not one that mmdhp understands; do what it does',
        }
    included = network.preprocessor is not None
    return {
        'included': included,
        'data_preprocessor': facts.kind,
        'channel_order': facts.channel_order,
        'value_range': [0, 255],
        'formula': '(image - mean) / std',
        'mean': list(facts.mean),
        'std': list(facts.std),
        'pad_size_divisor': facts.pad_divisor,
        'pad_mode': facts.pad_mode,
        'pad_value': facts.pad_value,
        'pad_before_normalisation': facts.pads_first,
        'note': 'the file does this; give it values from 0 to 255'
        if included
        else 'do this before running the file',
    }


def postprocessing_facts(
    network: DeployedNetwork, facts: Preprocessing
) -> dict[str, Any]:
    """What is left to do behind the network."""
    if network.task == CLASSIFICATION:
        return {'included': False, 'formula': _activation(network.network)}
    if network.task == RESTORATION and facts.known:
        return {
            'included': network.preprocessor is not None,
            'formula': 'clip(output * std + mean, 0, 255)',
            'channel_order': facts.channel_order,
        }
    return {'included': False, 'formula': None}


def _activation(network: Any) -> str:
    """How scores become probabilities, by the kind of head."""
    head = type(network.head)
    several = any('MultiLabel' in base.__name__ for base in head.__mro__)
    return 'sigmoid(output)' if several else 'softmax(output, axis=1)'


def file_report(
    name: str,
    path: str,
    found: Difference,
    tolerance: float,
    shapes: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """What belongs to one file alone.

    Args:
        name (str): Its format.
        path (str): Where it is.
        found (Difference): From PyTorch.
        tolerance (float): Largest relative difference that is allowed.
        shapes (Sequence[Sequence[int]]): Of the batches of the comparison.
    """
    return {
        'file': osp.basename(path),
        'format': name,
        'description_in_file': DESCRIPTION,
        'check': {
            'against': f'torch {torch.__version__}',
            'input_shapes': [list(shape) for shape in shapes],
            'max_absolute_difference': found.absolute,
            'max_relative_difference': found.relative,
            'tolerance': tolerance,
        },
    }


def _plain(value: Any) -> Any:
    """Values of a config as JSON has them; classes and the like as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, '__name__', str(value))
