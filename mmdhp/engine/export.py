"""Writes a pruned model as a folder that does not need ``mmdhp``."""

import copy
import json
import os
import os.path as osp
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any, Optional

import mmengine
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import weights_to_cpu
from torch import Tensor, nn

from mmdhp.costs import Memory
from mmdhp.methods import Pruner
from mmdhp.models.widened import original_architecture
from mmdhp.registry import HOOKS
from mmdhp.surgery import resizing
from mmdhp.version import __version__

from .constructor import PLAIN_TYPES
from .loader_package import package_sources, write_package
from .transition import unwrapped

FOLDER = 'pruned'
WEIGHTS = 'pruned.pth'
CONFIG = 'pruned_config.py'
CHANNELS = 'channels.json'

# Keys of a run that say nothing about the model.
RUN_KEYS = ('load_from', 'resume', 'work_dir', 'launcher')


def check_exportable(cfg: Config) -> None:
    """Find out before the training whether it can be exported.

    Raises:
        KeyError: If the config names a type of mmdhp that does not exist.
        RuntimeError: If a network of mmdhp depends on the rest of it.
    """
    package_sources(without_widening(cfg))


def without_widening(cfg: Config) -> Config:
    """A copy of a config whose model is the baseline, if it is widened."""
    plain = copy.deepcopy(cfg)
    plain.model = original_architecture(cfg.model.to_dict())
    return plain


def export(
    runner: Runner,
    pruner: Pruner,
    keep: Tensor,
    metrics: Mapping[str, float],
    latency: Optional[Mapping[str, Any]] = None,
) -> str:
    """Write ``WORK_DIR/pruned/``: weights, config, channels and loader.

    The folder appears whole or not at all; an older one is replaced.

    Args:
        runner (Runner): Its model is the pruned one.
        pruner (Pruner): The method that pruned it.
        keep (Tensor): The mask, shape ``(U, )``.
        metrics (Mapping[str, float]): Last validation metrics.
        latency (Mapping, optional): Of :func:`latency_summary`, if it is a
            target. Defaults to None.

    Returns:
        str: Path of the folder.
    """
    model = unwrapped(runner)
    checkpoint = {
        'meta': _checkpoint_meta(runner, pruner),
        'state_dict': _validated_weights(runner),
    }
    summary = channel_summary(pruner, keep, model, metrics, latency)
    return write_folder(runner.work_dir, runner.cfg, checkpoint, summary)


def write_folder(
    work_dir: str,
    run_cfg: Config,
    checkpoint: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> str:
    """Write ``WORK_DIR/pruned/`` from its parts.

    Args:
        work_dir (str): An existing folder.
        run_cfg (Config): That the model was built from.
        checkpoint (Mapping): Content of ``pruned.pth``.
        summary (Mapping): Content of ``channels.json``.

    Returns:
        str: Path of the folder.
    """
    folder = osp.join(work_dir, FOLDER)
    remove_leftovers(work_dir)
    parts = tempfile.mkdtemp(prefix=f'.{FOLDER}_', dir=work_dir)
    try:
        os.chmod(parts, 0o755)
        cfg = without_widening(run_cfg)
        loader = write_package(cfg, parts)
        torch.save(dict(checkpoint), osp.join(parts, WEIGHTS))
        with open(osp.join(parts, CHANNELS), 'w', encoding='utf-8') as file:
            json.dump(summary, file, indent=2)
        with open(osp.join(parts, CONFIG), 'w', encoding='utf-8') as file:
            file.write(config_text(cfg, loader))
        replace_folder(parts, folder)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return folder


def replace_folder(new: str, folder: str) -> None:
    """Put a folder in the place of another one, which stays if that fails.

    Args:
        new (str): Complete; on the same file system.
        folder (str): It may exist.
    """
    old = f'{new}_old'
    if osp.isdir(folder):
        os.rename(folder, old)
    try:
        os.rename(new, folder)
    except OSError:
        if osp.isdir(old):
            os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(work_dir: str) -> None:
    """Remove what exports have left that were killed.

    If one was killed between taking the old folder away and putting the new
    one there, the old one comes back.
    """
    folder = osp.join(work_dir, FOLDER)
    for name in sorted(os.listdir(work_dir), reverse=True):
        path = osp.join(work_dir, name)
        if name.startswith(f'.{FOLDER}_') and osp.isdir(path):
            if name.endswith('_old') and not osp.exists(folder):
                os.rename(path, folder)
            else:
                shutil.rmtree(path, ignore_errors=True)


def _validated_weights(runner: Runner) -> dict[str, Tensor]:
    """The weights that validation measures: the average, if there is one."""
    model = unwrapped(runner)
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            model = hook.ema_model.module
    return weights_to_cpu(model.state_dict())


def _checkpoint_meta(runner: Runner, pruner: Pruner) -> dict[str, Any]:
    dataset = runner.train_dataloader.dataset
    return checkpoint_meta(pruner, getattr(dataset, 'metainfo', None) or {})


def checkpoint_meta(
    pruner: Pruner, metainfo: Mapping[str, Any]
) -> dict[str, Any]:
    """``meta`` of ``pruned.pth``.

    Args:
        pruner (Pruner): The method that pruned.
        metainfo (Mapping): Of the training data; its classes are kept.
    """
    meta: dict[str, Any] = {
        'format_version': resizing.FORMAT_VERSION,
        'method': pruner.name,
        'mmdhp_version': __version__,
    }
    classes = metainfo.get('classes')
    if classes is not None:
        meta['dataset_meta'] = {'classes': [str(name) for name in classes]}
    return meta


def channel_summary(
    pruner: Pruner,
    keep: Tensor,
    model: nn.Module,
    metrics: Mapping[str, float],
    latency: Optional[Mapping[str, Any]] = None,
) -> dict[str, Any]:
    """Content of ``channels.json``.

    Args:
        pruner (Pruner): The method that pruned.
        keep (Tensor): The mask, shape ``(U, )``.
        model (nn.Module): The pruned model.
        metrics (Mapping[str, float]): Last validation metrics.
        latency (Mapping, optional): Of :func:`latency_summary`, if it is a
            target. Defaults to None.
    """
    graph, base = pruner.graph, pruner.baseline
    memory = Memory(graph, base)

    def compare(pruned: int, original: int) -> dict[str, Any]:
        return {
            'original': original,
            'pruned': pruned,
            'ratio': pruned / original,
        }

    summary: dict[str, Any] = {
        'format_version': resizing.FORMAT_VERSION,
        'method': pruner.name,
        'target': pruner.target.as_dict(),
        'macs': compare(
            int(graph.macs(keep, pruner.kinds)),
            int(base.macs(kinds=pruner.kinds)),
        ),
        'macs_kinds': list(pruner.kinds),
        'params': compare(int(graph.params(keep)), int(base.params())),
        'memory': compare(memory.value(keep), int(memory.full)),
        'input_shape': list(pruner.input_shape),
        'metrics': plain_numbers(metrics),
        'versions': {
            'mmdhp': __version__,
            'mmengine': mmengine.__version__,
            'torch': torch.__version__,
        },
        'groups': [
            {'name': name, 'kept': kept, 'total': total}
            for name, (kept, total) in pruner.widths(keep).items()
        ],
        'shapes': {
            name: list(tensor.shape)
            for name, tensor in resizing.named_tensors(model)
            if tuple(tensor.shape) != base.shapes.get(name)
        },
        'attributes': graph.attribute_values(keep),
    }
    if latency is not None:
        summary['latency'] = dict(latency)
    if base is not graph:
        summary['widened'] = {group.name: group.size for group in graph.groups}
    return summary


def plain_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics that are one number, be it a tensor or an array.

    Examples:
        >>> plain_numbers({'psnr': torch.tensor(30.5), 'names': ['a', 'b']})
        {'psnr': 30.5}
    """
    numbers = {}
    for key, value in metrics.items():
        if getattr(value, 'size', None) is not None:
            value = torch.as_tensor(value)
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, (int, float)):
            numbers[key] = float(value)
    return numbers


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
    return name in HOOKS.module_dict


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
