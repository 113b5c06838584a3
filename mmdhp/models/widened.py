"""An architecture with wider layers than its config says."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

import torch
from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from mmdhp.graph import GraphError, trace
from mmdhp.methods.options import (
    accepted,
    check_dict,
    check_name_lists,
    check_names,
    check_number,
    check_shape,
    unknown_keys,
)
from mmdhp.registry import MODELS
from mmdhp.surgery import baseline_of, check_widened, remember, widen

from .model_forward import run_model


@MODELS.register_module(name='Widened')
def build_widened(
    architecture: dict,
    input_shape: Sequence[int],
    factor: float = 2,
    exclude: Sequence[str] = (),
    groups: Sequence[Sequence[str]] = (),
    safe_norms: Sequence[str] = (),
    data_preprocessor: Optional[dict] = None,
    backbone: Optional[dict] = None,
    **unknown: Any,
) -> nn.Module:
    """Build an architecture and multiply its widths.

    The architecture itself is returned, not a wrapper. It remembers what it
    was, so that a pruner's target means a fraction of the baseline. Weights
    that ``init_cfg`` would load are forgotten, since they do not fit.

    Args:
        architecture (dict): The ``model`` to widen, as in its config.
        input_shape (Sequence[int]): Shape of one input without the batch
            axis; the pruner's must be the same.
        factor (float): At least 1. Defaults to 2.
        exclude (Sequence[str]): Name patterns of modules whose output
            channels keep their width. Defaults to ().
        groups (Sequence[Sequence[str]]): As for :func:`mmdhp.trace`. Defaults
            to ().
        safe_norms (Sequence[str]): As for :func:`mmdhp.trace`. Defaults
            to ().
        data_preprocessor (dict, optional): The Runner passes that of the
            config; the architecture gets it unless it has one.
        backbone (dict, optional): Not used. MMDetection's ``init_detector``
            wants to find it in the config of a model.
        **unknown: Refused, with the name of the nearest argument.

    Returns:
        nn.Module: The architecture, wider.

    Raises:
        GraphError: If it does not run at ``input_shape``, has nothing to
            widen, or does not run when it is wider.
        TypeError: If an argument is unknown or of the wrong type.
        ValueError: If a number is out of range.

    Examples:
        >>> model = dict(
        ...     _delete_=True,
        ...     type='mmdhp.Widened',
        ...     architecture=dict(type='ImageClassifier'),  # _base_.model
        ...     factor=2,
        ...     input_shape=(3, 32, 32),
        ... )
    """
    _check(architecture, factor, unknown)
    input_shape = check_shape('mmdhp.Widened: input_shape', input_shape)
    options: dict[str, Any] = {
        'forward': run_model,
        'exclude': check_names('mmdhp.Widened: exclude', exclude),
        'groups': check_name_lists('mmdhp.Widened: groups', groups),
        'safe_norms': check_names('mmdhp.Widened: safe_norms', safe_norms),
    }
    architecture = dict(architecture)
    if data_preprocessor is not None:
        architecture.setdefault('data_preprocessor', data_preprocessor)
    model = ROOT_MODELS.build(architecture)
    device = next(model.parameters()).device
    inputs = torch.zeros(2, *input_shape, device=device)
    graph = trace(model, inputs, **options)
    if not graph.groups:
        reasons = {f'{g.name}: {g.reason}' for g in graph.frozen}
        raise GraphError(
            f'Nothing in {type(model).__name__} can be widened. Reasons:\n'
            + '\n'.join(sorted(reasons)[:10])
        )
    widen(model, graph, factor)
    try:
        wide = trace(model, inputs, **options)
    except GraphError as error:
        raise GraphError(
            f'{type(model).__name__} does not run when it is {factor} times '
            f'as wide: {error} Add the module to `exclude`.'
        ) from None
    check_widened(model, graph, factor, wide)
    baseline = baseline_of(model)
    assert baseline is not None
    remember(model, replace(baseline, input_shape=tuple(input_shape)))
    return model


def _check(architecture: Any, factor: Any, unknown: Mapping) -> None:
    problem = unknown_keys('mmdhp.Widened', unknown, accepted(build_widened))
    if problem:
        raise TypeError(problem)
    example = "dict(type='ImageClassifier', ...)"
    check_dict('mmdhp.Widened: architecture', architecture, example)
    if not architecture.get('type'):
        raise KeyError(
            'mmdhp.Widened: architecture has no `type`; it is the `model` of '
            f'a config, such as {example}.'
        )
    check_number('mmdhp.Widened: factor', factor, 1)


def original_architecture(model: Mapping[str, Any]) -> dict:
    """Config of what pruned checkpoints fit: the architecture as it was.

    Args:
        model (Mapping): ``model`` of a config.

    Returns:
        dict: The baseline's where ``model`` widens one; a copy of ``model``
        otherwise.

    Examples:
        >>> wide = dict(type='mmdhp.Widened', architecture=dict(type='Net'))
        >>> original_architecture(wide)
        {'type': 'Net'}
    """
    plain = copy.deepcopy(dict(model))
    if str(plain.get('type')).rpartition('.')[2] != 'Widened':
        return plain
    architecture = dict(plain['architecture'])
    if plain.get('data_preprocessor') is not None:
        architecture.setdefault(
            'data_preprocessor', plain['data_preprocessor']
        )
    return architecture
