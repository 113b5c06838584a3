"""Writes a pruned model as a folder that does not need ``mmdhp``."""
import copy
import inspect
import json
import os
import os.path as osp
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import mmengine
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.runner.checkpoint import weights_to_cpu
from torch import Tensor, nn

from mmdhp import registry as registries
from mmdhp.compat import mmagic as compat_mmagic
from mmdhp.graph import ChannelGraph
from mmdhp.methods import Pruner
from mmdhp.models import pruned
from mmdhp.surgery import resizing
from mmdhp.version import __version__

from .constructor import PLAIN_TYPES
from .transition import unwrapped

FOLDER = 'pruned'
WEIGHTS = 'pruned.pth'
CONFIG = 'pruned_config.py'
CHANNELS = 'channels.json'

# How sources of mmdhp read where it is not installed.
REWRITES = (
    ('from mmdhp.registry import', 'from mmengine.registry import'),
    ('from mmdhp.surgery.resizing import', 'from .resizing import'),
    ('register_module(', 'register_module(force=True, '),
    ('force=True, )', 'force=True)'),
)

# Keys of a run that say nothing about the model.
RUN_KEYS = ('load_from', 'resume', 'work_dir', 'launcher', 'custom_imports')


def export(
    runner: Runner,
    pruner: Pruner,
    keep: Tensor,
    metrics: Mapping[str, float],
) -> str:
    """Write ``WORK_DIR/pruned/``: weights, config, channels and loader.

    The folder appears whole or not at all; an older one is replaced.

    Args:
        runner (Runner): Its model is the pruned one.
        pruner (Pruner): The method that pruned it.
        keep (Tensor): The mask, shape ``(U, )``.
        metrics (Mapping[str, float]): Last validation metrics.

    Returns:
        str: Path of the folder.
    """
    folder = osp.join(runner.work_dir, FOLDER)
    model = unwrapped(runner)
    parts = tempfile.mkdtemp(prefix=f'.{FOLDER}_', dir=runner.work_dir)
    try:
        os.chmod(parts, 0o755)
        loader = write_loader(runner.cfg, parts)
        state = weights_to_cpu(model.state_dict())
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):  # what validation measured
                state = weights_to_cpu(hook.ema_model.module.state_dict())
        torch.save(
            {'meta': _checkpoint_meta(runner, pruner), 'state_dict': state},
            osp.join(parts, WEIGHTS),
        )
        summary = channel_summary(pruner, keep, model, metrics)
        with open(osp.join(parts, CHANNELS), 'w', encoding='utf-8') as file:
            json.dump(summary, file, indent=2)
        with open(osp.join(parts, CONFIG), 'w', encoding='utf-8') as file:
            file.write(config_text(runner.cfg, loader))
        if osp.isdir(folder):
            shutil.rmtree(folder)
        os.replace(parts, folder)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return folder


def _checkpoint_meta(runner: Runner, pruner: Pruner) -> dict[str, Any]:
    dataset = runner.train_dataloader.dataset
    meta = {'method': pruner.name, 'mmdhp_version': __version__}
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes is not None:
        meta['dataset_meta'] = {'classes': list(classes)}  # type: ignore
    return meta


def channel_summary(
    pruner: Pruner,
    keep: Tensor,
    model: nn.Module,
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """Content of ``channels.json``.

    Args:
        pruner (Pruner): The method that pruned.
        keep (Tensor): The mask, shape ``(U, )``.
        model (nn.Module): The pruned model.
        metrics (Mapping[str, float]): Last validation metrics.
    """
    graph: ChannelGraph = pruner.graph

    def three(pruned: int, original: int) -> dict[str, Any]:
        return {
            'original': original,
            'pruned': pruned,
            'ratio': pruned / original,
        }

    return {
        'method': pruner.name,
        'target': {pruner.target.quantity: pruner.target.ratio},
        'macs': three(
            graph.macs(keep, pruner.kinds), graph.macs(kinds=pruner.kinds)
        ),
        'macs_kinds': list(pruner.kinds),
        'params': three(graph.params(keep), graph.params()),
        'input_shape': list(pruner.input_shape),
        'metrics': {
            key: float(value)
            for key, value in metrics.items()
            if isinstance(value, (int, float))
        },
        'versions': {
            'mmdhp': __version__,
            'mmengine': mmengine.__version__,
            'torch': torch.__version__,
        },
        'groups': [
            {'name': name, 'kept': kept, 'total': total}
            for name, (kept, total) in graph.widths(keep).items()
        ],
        'shapes': {
            name: list(tensor.shape)
            for name, tensor in resizing.named_tensors(model)
            if tuple(tensor.shape) != graph.shapes.get(name)
        },
    }


def write_loader(cfg: Config, folder: str) -> str:
    """Write the package that builds the pruned model without ``mmdhp``.

    It holds copies of the few files of ``mmdhp`` that loading needs, and of
    those that define the networks named in the config.

    Returns:
        str: Name of the package.
    """
    own = sorted(set(_own_types(cfg.to_dict())) - set(PLAIN_TYPES))
    name = '_'.join(['pruned_architecture', *map(_module_name, own)])
    package = osp.join(folder, name)
    os.makedirs(package)
    sources = {'resizing': _source(resizing), 'pruned': _source(pruned)}
    for kind in own:
        sources.update(_with_siblings(_module_of(kind)))
    imports = ['from . import ' + ', '.join(sorted(sources))]
    if cfg.get('default_scope') == 'mmagic':
        sources['compat_mmagic'] = _source(compat_mmagic)
        imports = ['from .compat_mmagic import install', '', 'install()', ''] + [
            line + '  # noqa: E402' for line in imports
        ]
    sources['__init__'] = '\n'.join(
        ['"""Builds the pruned architecture; written by mmdhp."""', '', *imports, '']
    )
    for stem, text in sources.items():
        path = osp.join(package, f'{stem}.py')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
    return name


def config_text(cfg: Config, loader: str) -> str:
    """Content of ``pruned_config.py``: the base config, plainly.

    Args:
        cfg (Config): Config of the run.
        loader (str): Name of the package written by :func:`write_loader`.
    """
    plain = copy.deepcopy(cfg.to_dict())
    for key in RUN_KEYS:
        plain.pop(key, None)
    wrapper = plain.get('optim_wrapper')
    if wrapper is not None:
        kind = wrapper.get('type', '')
        wrapper['type'] = PLAIN_TYPES.get(kind, kind)
        for key in ('pruner', 'search_optimizer', 'constructor'):
            wrapper.pop(key, None)
        base = wrapper.pop('base_constructor', None)
        if base is not None:
            wrapper['constructor'] = base['type']
    plain['custom_hooks'] = [
        hook
        for hook in plain.get('custom_hooks') or []
        if hook.get('type') != 'mmdhp.PruningHook'
    ]
    _localise(plain)
    plain['model'] = {'type': 'Pruned', 'architecture': plain.pop('model')}
    body = Config(plain).pretty_text
    return (
        '"""A pruned model: test or train it as any other.\n\n'
        'Needs this folder, not mmdhp.\n"""\n'
        'import sys\n\n'
        "sys.path.insert(0, '{{ fileDirname }}')\n\n"
        f'{body}\n'
        "model['channels'] = '{{ fileDirname }}/" + CHANNELS + "'\n"
        f'custom_imports = dict(\n    imports=[{loader!r}],\n'
        '    allow_failed_imports=False)\n'
    )


def _own_types(tree: Any) -> Iterator[str]:
    """Networks, datasets ... of mmdhp that a config names."""
    if isinstance(tree, Mapping):
        kind = tree.get('type')
        if isinstance(kind, str) and kind.startswith('mmdhp.'):
            if not _belongs_to_run(kind):
                yield kind
        for value in tree.values():
            yield from _own_types(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _own_types(value)


def _belongs_to_run(kind: str) -> bool:
    name = kind.partition('.')[2]
    run = (
        registries.PRUNERS,
        registries.HOOKS,
        registries.OPTIM_WRAPPERS,
        registries.OPTIM_WRAPPER_CONSTRUCTORS,
    )
    return any(name in registry.module_dict for registry in run)


def _localise(tree: Any) -> None:
    """Drop the scope of what the loader registers in MMEngine itself."""
    if isinstance(tree, dict):
        kind = tree.get('type')
        if isinstance(kind, str) and kind.startswith('mmdhp.'):
            tree['type'] = kind.partition('.')[2]
        for value in tree.values():
            _localise(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            _localise(value)


def _module_of(kind: str) -> Any:
    name = kind.partition('.')[2]
    for registry in vars(registries).values():
        if isinstance(registry, Registry) and registry.scope == 'mmdhp':
            found = registry.get(name)
            if found is not None:
                return inspect.getmodule(found)
    raise KeyError(f'{kind} of the config is not registered.')


def _module_name(kind: str) -> str:
    return _module_of(kind).__name__.rpartition('.')[2]


def _source(module: Any) -> str:
    text = inspect.getsource(module)
    for old, new in REWRITES:
        text = text.replace(old, new)
    return text


def _with_siblings(module: Any) -> dict[str, str]:
    """Sources of a module and of the siblings that it imports."""
    package, _, stem = module.__name__.rpartition('.')
    sources = {stem: _source(module)}
    for value in vars(module).values():
        home = getattr(value, '__module__', '') or ''
        if home.startswith(f'{package}.') and home != module.__name__:
            sources.update(_with_siblings(sys.modules[home]))
    return sources
