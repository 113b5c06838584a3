"""Registries of the plugin, so that configs can say ``mmdhp.X``.

All but ``PRUNERS`` are children of MMEngine's. MMEngine imports this file
when it meets a ``mmdhp.X`` type, and then the ``locations`` of the registry
that is asked for it.
"""

from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry, build_from_cfg

SCOPE = 'mmdhp'


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(
        parent.name, parent=parent, scope=SCOPE, locations=list(locations)
    )


def _build_pruner(cfg: dict, *args: Any, **kwargs: Any) -> Any:
    """Build in our scope: other scopes have no pruners to search."""
    return build_from_cfg({'_scope_': SCOPE, **cfg}, *args, **kwargs)


MODELS = _child(
    mmengine_registry.MODELS,
    'mmdhp.models',
    'mmdhp.models.tracking',
    'mmdhp.models.online_tracking',
)
DATASETS = _child(
    mmengine_registry.DATASETS, 'mmdhp.datasets', 'mmdhp.datasets.tracking'
)
DATA_SAMPLERS = _child(
    mmengine_registry.DATA_SAMPLERS, 'mmdhp.datasets.tracking'
)
TRANSFORMS = _child(
    mmengine_registry.TRANSFORMS, 'mmdhp.datasets', 'mmdhp.datasets.tracking'
)
METRICS = _child(mmengine_registry.METRICS, 'mmdhp.evaluation')
HOOKS = _child(mmengine_registry.HOOKS, 'mmdhp.engine')
OPTIM_WRAPPERS = _child(mmengine_registry.OPTIM_WRAPPERS, 'mmdhp.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS, 'mmdhp.engine'
)
PRUNERS = Registry(
    'pruner',
    build_func=_build_pruner,
    scope=SCOPE,
    locations=['mmdhp.methods'],
)
