"""Source files by which a pruned model loads where mmdhp is not installed."""

import ast
import inspect
import os
import os.path as osp
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from mmdhp import registry as registries
from mmdhp.graph import open_forward
from mmdhp.models import pruned
from mmdhp.surgery import resizing

# How sources of mmdhp read where it is not installed.
REWRITES = (
    ('from mmdhp.registry import', 'from mmengine.registry import'),
    ('from mmdhp.surgery.resizing import', 'from .resizing import'),
    ('from mmdhp.graph.open_forward import', 'from .open_forward import'),
    ('register_module(', 'register_module(force=True, '),
    ('force=True, )', 'force=True)'),
)

# What lets a package be imported, by its name: modules of ``compat`` to
# install, then those they need. Copied as they are; they import nothing of
# mmdhp.
COMPAT = {
    'mmagic': (('mmagic', 'mmcv'), ('import_hook', 'mmcv_operators')),
    'mmdet': (('mmdet', 'mmcv'), ('import_hook', 'mmcv_operators')),
}

RUN_REGISTRIES = (
    registries.PRUNERS,
    registries.HOOKS,
    registries.OPTIM_WRAPPERS,
    registries.OPTIM_WRAPPER_CONSTRUCTORS,
)


def package_sources(cfg: Config) -> dict[str, str]:
    """Sources of the loader package of a config, by module name.

    Copies of the few files of ``mmdhp`` that loading needs, and of those that
    define the networks, data sets and metrics that the config names.

    Raises:
        RuntimeError: If a copy would still import ``mmdhp``.
    """
    sources = {
        'open_forward': _source(open_forward),
        'resizing': _source(resizing),
        'pruned': _source(pruned),
    }
    for kind in own_types(cfg.to_dict()):
        sources.update(_with_siblings(_module_of(kind)))
    lines = ['from . import ' + ', '.join(sorted(sources))]
    installed, needed = _compat_modules(cfg)
    if installed:
        names = [f'compat_{stem}' for stem in installed]
        sources.update(zip(names, map(_compat_source, installed)))
        sources.update({stem: _compat_source(stem) for stem in needed})
        lines = [
            'from . import ' + ', '.join(names),
            '',
            *(f'{name}.install()' for name in names),
            '',
            *(f'{line}  # noqa: E402' for line in lines),
        ]
    title = '"""Builds the pruned architecture; written by mmdhp."""'
    sources['__init__'] = '\n'.join([title, '', *lines, ''])
    for name, text in sources.items():
        left = [m for m in _imports(text) if m.partition('.')[0] == 'mmdhp']
        if left:
            raise RuntimeError(
                f'The model cannot be exported: {name}.py would import '
                f'{", ".join(left)}. Import from the same folder or from '
                'MMEngine there, or set export=False in PruningHook.'
            )
    return sources


def write_package(cfg: Config, folder: str) -> str:
    """Write the loader package of a config.

    Returns:
        str: Name of the package, which tells the networks it holds.
    """
    stems = {_module_of(k).__name__.rpartition('.')[2] for k in own_types(cfg)}
    name = '_'.join(['pruned_architecture', *sorted(stems)])
    package = osp.join(folder, name)
    os.makedirs(package)
    for stem, text in package_sources(cfg).items():
        path = osp.join(package, f'{stem}.py')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
    return name


def own_types(tree: Any) -> Iterator[str]:
    """Networks, data sets and the like of mmdhp that a config names."""
    if isinstance(tree, Config):
        tree = tree.to_dict()
    if isinstance(tree, Mapping):
        kind = tree.get('type')
        if isinstance(kind, str) and kind.startswith('mmdhp.'):
            name = kind.partition('.')[2]
            if not any(is_registered(name, r) for r in RUN_REGISTRIES):
                yield kind
        for value in tree.values():
            yield from own_types(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from own_types(value)


def is_registered(name: str, registry: Registry) -> bool:
    """Whether a registry of mmdhp has a name, used before or not."""
    registry.import_from_location()
    return name in registry.module_dict


def _compat_modules(cfg: Config) -> tuple[list[str], list[str]]:
    """Modules of ``compat`` to install for a config, and those they need."""
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    imports = [imports] if isinstance(imports, str) else imports
    named = {module.partition('.')[0] for module in imports}
    named.update(_scopes(cfg.to_dict()))
    named.add(cfg.get('default_scope') or '')
    chosen = [COMPAT[package] for package in COMPAT if package in named]
    installed = {stem for modules, _ in chosen for stem in modules}
    needed = {stem for _, modules in chosen for stem in modules}
    return sorted(installed), sorted(needed)


def _scopes(tree: Any) -> Iterator[str]:
    """Packages that a config names in front of its types."""
    if isinstance(tree, Mapping):
        kind = tree.get('type')
        if isinstance(kind, str) and '.' in kind:
            yield kind.partition('.')[0]
        for value in tree.values():
            yield from _scopes(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _scopes(value)


def _compat_source(stem: str) -> str:
    folder = osp.join(osp.dirname(osp.dirname(__file__)), 'compat')
    with open(osp.join(folder, f'{stem}.py'), encoding='utf-8') as file:
        return file.read()


def _module_of(kind: str) -> ModuleType:
    name = kind.partition('.')[2]
    for registry in vars(registries).values():
        if isinstance(registry, Registry) and registry.scope == 'mmdhp':
            found = registry.get(name)
            module = None if found is None else inspect.getmodule(found)
            if module is not None:
                return module
    raise KeyError(f'{kind}, named in the config, is not registered.')


def _source(module: ModuleType) -> str:
    text = inspect.getsource(module)
    for old, new in REWRITES:
        text = text.replace(old, new)
    return text


def _with_siblings(module: ModuleType) -> dict[str, str]:
    """Sources of a module and of the siblings that it imports."""
    package, _, stem = module.__name__.rpartition('.')
    sources = {stem: _source(module)}
    for value in vars(module).values():
        home = getattr(value, '__module__', None) or ''
        if home.startswith(f'{package}.') and home != module.__name__:
            sources.update(_with_siblings(sys.modules[home]))
    return sources


def _imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ''
