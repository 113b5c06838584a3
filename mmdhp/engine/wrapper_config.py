"""Checks of ``optim_wrapper``, before anything is built from it."""

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Optional

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIMIZERS

from mmdhp.methods.options import (
    SCOPE,
    accepted,
    check_choices,
    check_dict,
    check_int,
    check_number,
    is_number,
    nearest,
    unknown_keys,
)

SUBJECT = 'optim_wrapper'
OWN_KEYS = ('type', 'pruner', 'search_optimizer', 'base_constructor')
PARAMWISE_KEYS = (
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'flat_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
    'custom_keys',
)
_EXAMPLE = "dict(type='SGD', lr=0.1)"
_PRUNER = (
    "dict(type='mmdhp.DHP', target=dict(macs=0.5), input_shape=(3, 224, 224))"
)
_CLIPPING: dict[str, tuple[Callable, str]] = {
    'norm': (torch.nn.utils.clip_grad_norm_, 'max_norm'),
    'value': (torch.nn.utils.clip_grad_value_, 'clip_value'),
}


def check_wrapper(cfg: Mapping[str, Any], amp: bool) -> None:
    """Refuse keys and values of ``optim_wrapper`` that cannot work.

    Args:
        cfg (Mapping): Its config, without ``constructor`` and
            ``paramwise_cfg``.
        amp (bool): Whether its type is one of mixed precision.

    Raises:
        KeyError: If ``pruner`` or ``optimizer`` is missing, or a type is
            unknown.
        TypeError: If a key is unknown, or a value of the wrong type.
        ValueError: If a value is out of range.
    """
    plain = accepted(OptimWrapper)
    scaled = [key for key in accepted(AmpOptimWrapper) if key not in plain]
    known = {*OWN_KEYS, *plain, *scaled}
    problem = unknown_keys(SUBJECT, cfg, known)
    if problem:
        raise TypeError(problem)
    alien = [key for key in scaled if key in cfg]
    if alien and not amp:
        raise TypeError(
            f'{SUBJECT} has {", ".join(alien)}, which only '
            "type='mmdhp.PruningAmpOptimWrapper' takes."
        )
    _check_pruner(cfg)
    if 'optimizer' not in cfg:
        raise KeyError(f'{SUBJECT} has no `optimizer`. Add {_EXAMPLE}.')
    check_optimizer('optimizer', cfg['optimizer'])
    if cfg.get('base_constructor') is not None:
        _check_typed('base_constructor', cfg['base_constructor'])
    if cfg.get('search_optimizer') is not None:
        check_dict(
            f'{SUBJECT}.search_optimizer', cfg['search_optimizer'], _EXAMPLE
        )
    counts = cfg.get('accumulative_counts', 1)
    check_int(f'{SUBJECT}.accumulative_counts', counts, 1)
    if cfg.get('clip_grad') is not None:
        _check_clipping(cfg['clip_grad'])
    if amp:
        _check_scale(cfg.get('loss_scale', 'dynamic'))


def _check_pruner(cfg: Mapping[str, Any]) -> None:
    if cfg.get('pruner') is None:
        raise KeyError(
            f'{SUBJECT} has no `pruner`. Add, for example, pruner={_PRUNER}.'
        )
    _check_typed('pruner', cfg['pruner'], _PRUNER)


def _check_typed(key: str, cfg: Any, example: str = _EXAMPLE) -> None:
    """Refuse what is no dict with a type."""
    check_dict(f'{SUBJECT}.{key}', cfg, example)
    kind = cfg.get('type')
    if not callable(kind) and not (isinstance(kind, str) and kind):
        raise KeyError(
            f'{SUBJECT}.{key}.type is {kind!r}, but a name is needed, as in '
            f'{example}.'
        )


def check_optimizer(key: str, cfg: Any) -> None:
    """Refuse an optimizer's config from which none can be built.

    Args:
        key (str): Under which it stands in ``optim_wrapper``.
        cfg (Any): The config.

    Raises:
        KeyError: If its type is unknown.
        TypeError: If it takes no such key.
        ValueError: If it does not take a value.
    """
    _check_typed(key, cfg)
    subject = f'{SUBJECT}.{key}'
    kind = cfg['type']
    if isinstance(kind, str):
        with OPTIMIZERS.switch_scope_and_registry(None) as registry:
            known, kind = registry.module_dict, registry.get(kind)
        if kind is None:
            raise KeyError(
                f'{subject}.type is {cfg["type"]!r}, which is no optimizer'
                f'{nearest(cfg["type"], known)}.'
            )
    first, *others = inspect.signature(kind).parameters.values()
    names = [parameter.name for parameter in others]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in others)
    given = [key for key in cfg if key not in ('type', SCOPE)]
    problem = '' if open_ended else unknown_keys(subject, given, names)
    if problem:
        raise TypeError(problem)
    for name in ('lr', 'weight_decay', 'momentum'):
        if cfg.get(name) is not None:
            check_number(f'{subject}.{name}', cfg[name], 0)
    if first.name == 'params':
        _try(subject, kind, {k: copy.deepcopy(cfg[k]) for k in given})


def _try(subject: str, kind: Any, options: dict[str, Any]) -> None:
    """Build an optimizer of nothing much."""
    probe = [torch.nn.Parameter(torch.zeros(1))]
    try:
        kind(probe, **options)
    except Exception as error:  # whatever an optimizer's own checks raise
        shown = ', '.join(f'{k}={v!r}' for k, v in options.items())
        raise ValueError(
            f'{subject}: {kind.__name__} does not take {shown}: {error}.'
        ) from None


def _check_clipping(clip: Any) -> None:
    name = f'{SUBJECT}.clip_grad'
    check_dict(name, clip, 'dict(max_norm=1.0)')
    kind = clip.get('type', 'norm')
    check_choices({'type': kind}, {'type': tuple(_CLIPPING)}, f'{name}.')
    function, needed = _CLIPPING[kind]
    known = {'type', *accepted(function)} - {'parameters'}
    problem = unknown_keys(name, clip, known)
    if problem:
        raise TypeError(problem)
    if not is_number(clip.get(needed), 1e-30):
        raise ValueError(
            f'{name}.{needed} is {clip.get(needed)!r}, but a number above 0 '
            'is needed, or no clip_grad.'
        )


def _check_scale(scale: Any) -> None:
    if scale == 'dynamic' or is_number(scale, 1e-30):
        return
    if not isinstance(scale, Mapping):
        raise ValueError(
            f"{SUBJECT}.loss_scale is {scale!r}, but 'dynamic', a number "
            'above 0 or a dict of options of GradScaler is needed.'
        )
    problem = unknown_keys(
        f'{SUBJECT}.loss_scale', scale, accepted(torch.amp.GradScaler)
    )
    if problem:
        raise TypeError(problem)


def check_paramwise(
    paramwise: Any, optimizer: Mapping[str, Any], own: bool
) -> None:
    """Refuse a ``paramwise_cfg`` that would be ignored, or cannot work.

    Args:
        paramwise (Any): Its config, or None.
        optimizer (Mapping): Config of the optimizer.
        own (bool): Whether MMEngine's default constructor reads it.

    Raises:
        TypeError: If a key is unknown, or something is no dict.
        ValueError: If a value is no number, or changes a weight decay that
            the optimizer does not name.
    """
    if paramwise is None:
        return
    subject = f'{SUBJECT}.paramwise_cfg'
    check_dict(subject, paramwise, 'dict(norm_decay_mult=0.0)')
    if not own:
        return
    problem = unknown_keys(subject, paramwise, PARAMWISE_KEYS)
    if problem:
        raise TypeError(problem)
    custom = paramwise.get('custom_keys') or {}
    check_dict(f'{subject}.custom_keys', custom, "{'head': dict(lr_mult=10)}")
    numbers = {k: v for k, v in paramwise.items() if k.endswith('_mult')}
    for pattern, options in custom.items():
        name = f'custom_keys[{pattern!r}]'
        check_dict(f'{subject}.{name}', options, 'dict(lr_mult=10)')
        numbers.update(
            {f'{name}.{k}': v for k, v in options.items() if k[-4:] == 'mult'}
        )
    for name, value in numbers.items():
        check_number(f'{subject}.{name}', value, 0)
    decays = [name for name in numbers if name.endswith('decay_mult')]
    if decays and optimizer.get('weight_decay') is None:
        raise ValueError(
            f'{subject} has {", ".join(decays)}, but {SUBJECT}.optimizer no '
            'weight_decay that it could change. Give the optimizer one.'
        )


def changed(optimizer: Mapping[str, Any], change: Optional[Mapping]) -> dict:
    """Update an optimizer's config; another type replaces it."""
    change = change or {}
    if change.get('type', optimizer['type']) != optimizer['type']:
        return dict(change)
    return {**optimizer, **change}
