"""Builds the search stage's optimizer around an untouched model."""

import copy
import inspect
from typing import Any, Optional, cast

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_CONSTRUCTORS
from mmengine.registry import OPTIMIZERS
from torch import nn
from torch.optim import Optimizer

from mmdhp.methods import Pruner
from mmdhp.methods.options import accepted, nearest, unknown_keys
from mmdhp.models.model_forward import run_model
from mmdhp.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    PRUNERS,
)
from mmdhp.release.plain_config import PLAIN_TYPES

from .wrapper_config import (
    changed,
    check_optimizer,
    check_paramwise,
    check_wrapper,
)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PruningOptimWrapperConstructor:
    """Traces the model, builds the pruner and the search-stage optimizer.

    The optimizer holds the parameters that the base config's constructor
    gives it, and the pruner's search variables as one more parameter group;
    those alone for a pruner that trains nothing else. Weights that a pruner
    generates have no gradient when the optimizer steps, so it leaves them
    alone.

    Args:
        optim_wrapper_cfg (dict): An ordinary ``optim_wrapper`` with these
            further keys: ``pruner`` (dict, required), ``search_optimizer``
            (dict, optional; what differs in the search from ``optimizer``, or
            from the method's own default; another ``type`` replaces it) and
            ``base_constructor`` (dict, optional; builds the ordinary part).
        paramwise_cfg (dict, optional): For the ordinary part.
    """

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: Optional[dict] = None
    ) -> None:
        cfg = copy.deepcopy(dict(optim_wrapper_cfg))
        self.type = _search_type(cfg.get('type', 'mmdhp.PruningOptimWrapper'))
        check_wrapper(cfg, amp='Amp' in self.type)
        self.pruner_cfg = cfg.pop('pruner')
        self.search_optimizer = cfg.pop('search_optimizer', None)
        self.base_constructor = cfg.pop('base_constructor', None)
        self.paramwise_cfg = paramwise_cfg
        self.base = {**cfg, 'type': PLAIN_TYPES[self.type]}
        check_paramwise(
            paramwise_cfg, cfg['optimizer'], self.base_constructor is None
        )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the wrapper of the search stage.

        Args:
            model (nn.Module): Built model, possibly wrapped for DDP.
        """
        _refuse_sharded(model)
        if is_model_wrapper(model):
            model = cast(nn.Module, model.module)
        pruner = build_pruner(self.pruner_cfg)
        pruner.attach(model, run_model)
        optimizer = self._build_search(model, pruner)
        pruner.watch(optimizer)
        arguments = {
            key: copy.deepcopy(value)  # wrappers pop from `clip_grad`
            for key, value in self.base.items()
            if key not in ('type', 'optimizer')
        }
        return OPTIM_WRAPPERS.build(
            dict(
                type=self.type,
                optimizer=optimizer,
                pruner=pruner,
                build_fine_tune=self.build_fine_tune,
                **arguments,
            )
        )

    def _build_search(self, model: nn.Module, pruner: Pruner) -> Optimizer:
        cfg = self._search_cfg(pruner)
        if not pruner.trains_model:
            variables = {'params': list(pruner.program.parameters())}
            return OPTIMIZERS.build({**cfg['optimizer'], **variables})
        optimizer = self._build_plain(model, cfg).optimizer
        for group in pruner.variable_groups(optimizer.defaults['lr']):
            optimizer.add_param_group(group)
        return optimizer

    def build_fine_tune(self, model: nn.Module) -> OptimWrapper:
        """The base config's own wrapper, for the pruned model."""
        return self._build_plain(model, self.base)

    def _build_plain(self, model: nn.Module, cfg: dict) -> OptimWrapper:
        if self.base_constructor is None:
            constructor: Any = DefaultOptimWrapperConstructor(
                copy.deepcopy(cfg), copy.deepcopy(self.paramwise_cfg)
            )
        else:
            constructor = ROOT_CONSTRUCTORS.build(
                dict(
                    self.base_constructor,
                    optim_wrapper_cfg=copy.deepcopy(cfg),
                    paramwise_cfg=copy.deepcopy(self.paramwise_cfg),
                )
            )
        return constructor(model)

    def _search_cfg(self, pruner: Pruner) -> dict:
        optimizer = dict(self.base['optimizer'])
        for change in (pruner.search_optimizer, self.search_optimizer):
            optimizer = changed(optimizer, change)
        if self.search_optimizer:
            check_optimizer('search_optimizer', optimizer)
        if self.type == 'mmdhp.PruningOptimWrapper':
            optimizer.update(_fused(optimizer))
        return {'type': 'OptimWrapper', 'optimizer': optimizer}


def build_pruner(cfg: dict) -> Pruner:
    """Build a pruner from its config.

    Raises:
        KeyError: If there is no such method.
        TypeError: If the method does not take a key of the config, or one
            that it needs is missing.
    """
    kind: Any = cfg.get('type')
    if isinstance(kind, str):
        kind = _method(kind)
    given = set(cfg) - {'type', '_scope_'}
    subject = f'optim_wrapper.pruner ({getattr(kind, "__name__", kind)})'
    problem = unknown_keys(subject, sorted(map(str, given)), accepted(kind))
    missing = [
        name for name in ('target', 'input_shape') if cfg.get(name) is None
    ]
    if not problem and missing:
        problem = (
            f'{subject} needs {" and ".join(missing)}, for example '
            'target=dict(macs=0.5), input_shape=(3, 224, 224).'
        )
    if problem:
        raise TypeError(problem)
    return PRUNERS.build(cfg)


def _method(kind: str) -> Any:
    """The class of a method's name."""
    name = kind.rpartition('.')[2]
    with PRUNERS.switch_scope_and_registry('mmdhp') as registry:
        registry.import_from_location()
        known = {f'mmdhp.{key}' for key in registry.module_dict}
        if f'mmdhp.{name}' not in known:
            raise KeyError(
                unknown_keys('optim_wrapper.pruner.type', [kind], known)
            )
        return registry.get(name)


def _search_type(kind: Any) -> str:
    name = getattr(kind, '__name__', kind)
    names = [*PLAIN_TYPES, *PLAIN_TYPES.values()]
    for search, plain in PLAIN_TYPES.items():
        if name in (search, plain, search.partition('.')[2]):
            return search
    raise KeyError(
        f'optim_wrapper type {name!r} cannot search; use one of '
        f'{", ".join(PLAIN_TYPES)}.{nearest(name, names)}'
    )


def _fused(optimizer: dict) -> dict:
    """Ask for the fused step where it exists: the search has many numbers.

    Not under a gradient scaler, which then hides skipped steps.
    """
    chosen = any(key in optimizer for key in ('fused', 'foreach'))
    kind = optimizer['type']
    if isinstance(kind, str):
        with OPTIMIZERS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    if chosen or kind is None:
        return {}
    if 'fused' not in inspect.signature(kind).parameters:
        return {}
    try:  # older PyTorch has the option, but not for every device
        probe = nn.Parameter(torch.zeros(1))
        probe.grad = torch.zeros(1)
        kind([probe], lr=0.1, fused=True).step()
    except (RuntimeError, TypeError, ValueError):
        return {}
    return {'fused': True}


def _refuse_sharded(model: nn.Module) -> None:
    names = [type(m).__name__ for m in model.modules()]
    sharded = [n for n in names if 'FullySharded' in n or n.startswith('FSDP')]
    if sharded:
        raise TypeError(
            f'The model is wrapped by {sharded[0]}, whose parameters are '
            'shards; channels cannot be cut from them. Use '
            'MMDistributedDataParallel.'
        )
