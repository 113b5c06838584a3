"""The config of an exported model, in which nothing prunes."""

import copy
from typing import Any

from mmengine.config import Config

from mmdhp.models.widened import original_architecture
from mmdhp.registry import HOOKS

from .loader_package import is_registered

CHANNELS = 'channels.json'

# search-stage wrapper → what it stands in for
PLAIN_TYPES = {
    'mmdhp.PruningOptimWrapper': 'OptimWrapper',
    'mmdhp.PruningAmpOptimWrapper': 'AmpOptimWrapper',
}

# Keys of a run that say nothing about the model.
RUN_KEYS = ('load_from', 'resume', 'work_dir', 'launcher')


def without_widening(cfg: Config) -> Config:
    """A copy of a config whose model is the baseline, if it is widened."""
    plain = copy.deepcopy(cfg)
    plain.model = original_architecture(cfg.model.to_dict())
    return plain


def config_text(cfg: Config, loader: str) -> str:
    """Content of ``pruned_config.py``: the base config, plainly.

    Args:
        cfg (Config): Config of the run.
        loader (str): Name of the package that builds the model.
    """
    plain = copy.deepcopy(cfg.to_dict())
    for key in RUN_KEYS:
        plain.pop(key, None)
    _without_pruner(plain)
    _localise(plain)
    _without_pretrained(plain['model'])
    plain['model'] = {
        'type': 'mmengine.Pruned',
        'architecture': plain.pop('model'),
        'backbone': {},  # init_detector looks for it
    }
    plain['custom_imports'] = _custom_imports(
        plain.get('custom_imports') or {}, loader
    )
    return (
        '"""A pruned model: test or train it as any other.\n\n'
        'Needs this folder, not mmdhp.\n"""\n'
        'import sys\n\n'
        "sys.path.insert(0, '{{ fileDirname }}')\n\n"
        f'{Config(plain).pretty_text}\n'
        "model['channels'] = '{{ fileDirname }}/" + CHANNELS + "'\n"
    )


def _without_pruner(cfg: dict) -> None:
    """Turn a search config into that of its base, in place."""
    wrapper = cfg.get('optim_wrapper')
    if wrapper is not None:
        kind = wrapper.get('type', 'mmdhp.PruningOptimWrapper')
        wrapper['type'] = PLAIN_TYPES.get(kind, kind)
        for key in ('pruner', 'search_optimizer', 'constructor'):
            wrapper.pop(key, None)
        base = wrapper.pop('base_constructor', None)
        if base is not None:
            wrapper['constructor'] = base['type']
    cfg['custom_hooks'] = [
        hook
        for hook in cfg.get('custom_hooks') or []
        if not _is_own(hook.get('type'))
    ]


def _is_own(kind: Any) -> bool:
    """Whether a hook, by name or as a class, is one of mmdhp."""
    name = getattr(kind, '__name__', str(kind)).rpartition('.')[2]
    return is_registered(name, HOOKS)


def _without_pretrained(tree: Any) -> None:
    """Remove weights that have the original widths, in place."""
    if isinstance(tree, dict):
        init = tree.get('init_cfg')
        if isinstance(init, dict) and init.get('type') == 'Pretrained':
            tree['init_cfg'] = None
        for value in tree.values():
            _without_pretrained(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            _without_pretrained(value)


def _custom_imports(found: dict, loader: str) -> dict:
    """The run's own imports without those of mmdhp, and the loader first."""
    imports = found.get('imports') or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    others = [m for m in imports if m.partition('.')[0] != 'mmdhp']
    return {**found, 'imports': [loader, *others]}


def _localise(tree: Any) -> None:
    """Name what the loader package registers by MMEngine's scope, in place."""
    if isinstance(tree, dict):
        kind = tree.get('type')
        if isinstance(kind, str) and kind.startswith('mmdhp.'):
            tree['type'] = 'mmengine.' + kind.partition('.')[2]
        for value in tree.values():
            _localise(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            _localise(value)
