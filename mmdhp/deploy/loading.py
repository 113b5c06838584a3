"""From an exported folder, or a config and a checkpoint, to a model."""

import json
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmdhp.release.folder import CONFIG, FOLDER, WEIGHTS
from mmdhp.release.plain_config import CHANNELS
from mmdhp.surgery import resize_on_load
from mmdhp.surgery.resizing import derive_again


@dataclass(frozen=True)
class Source:
    """A model with all that is known about it.

    Attributes:
        model (nn.Module): On the CPU, in evaluation mode.
        cfg (Config): Its config.
        name (str): What messages call it.
        shape (tuple[int, ...] | None): One input without the batch axis, if
            it is known.
        classes (list[str] | None): What the model tells apart, if known.
    """

    model: nn.Module
    cfg: Config
    name: str
    shape: Optional[tuple[int, ...]] = None
    classes: Optional[list[str]] = None


def load_source(path: str, checkpoint: Optional[str] = None) -> Source:
    """Build a model and load its weights.

    Args:
        path (str): Work folder of a finished run, its folder ``pruned``
            wherever that is now, or a config: a file, or
            ``'mmpretrain::...'`` for one of an installed library.
        checkpoint (str, optional): File or URL. Needed with a config; in
            place of ``pruned.pth`` with a folder, such as after more
            training. It may be pruned. Defaults to None.

    Raises:
        ValueError: If there is no such model, or the checkpoint is not its.
    """
    shape = None
    if osp.isdir(path):
        folder = _pruned_folder(path)
        config = osp.join(folder, CONFIG)
        checkpoint = checkpoint or osp.join(folder, WEIGHTS)
        shape = _traced_shape(folder)
    elif '::' in path or (osp.isfile(path) and path.endswith('.py')):
        config = path
        if checkpoint is None:
            raise ValueError(
                f'{path} is a config, so a checkpoint with its weights is '
                'needed beside it: checkpoint=... (--checkpoint FILE).'
            )
    else:
        raise ValueError(
            f'{path} is neither a folder nor a config file (.py). Expected a '
            "finished run's work folder, its folder 'pruned', or a config "
            'with a checkpoint, such as my_config.py or '
            'mmpretrain::resnet/resnet18_8xb32_in1k.py.'
        )
    cfg = _config(config)
    model = _build(cfg)
    content = _read(checkpoint)
    _load(model, content, checkpoint)
    return Source(
        model=model.cpu().eval(),
        cfg=cfg,
        name=path,
        shape=shape or _pruner_shape(cfg),
        classes=_classes(content),
    )


def _config(path: str) -> Config:
    """A config of a file, or of an installed library (``LIB::PATH``)."""
    if '::' not in path:
        return Config.fromfile(path)
    return Config.fromstring(f'_base_ = {path!r}', '.py')


def _pruned_folder(path: str) -> str:
    """The folder with weights and config, given it or the one around it."""
    candidates = [path, osp.join(path, FOLDER)]
    for folder in candidates:
        if osp.isfile(osp.join(folder, CONFIG)):
            return folder
    raise ValueError(
        f'{path} holds no pruned model: there is neither '
        f'{" nor ".join(osp.join(c, CONFIG) for c in candidates)}. A run '
        'writes it when it has finished; resume this one, or give a config '
        'and a checkpoint (--checkpoint FILE).'
    )


def _traced_shape(folder: str) -> Optional[tuple[int, ...]]:
    path = osp.join(folder, CHANNELS)
    if not osp.isfile(path):
        return None
    with open(path, encoding='utf-8') as file:
        found = json.load(file).get('input_shape')
    return None if found is None else tuple(found)


def _pruner_shape(cfg: Config) -> Optional[tuple[int, ...]]:
    pruner = (cfg.get('optim_wrapper') or {}).get('pruner') or {}
    found = pruner.get('input_shape')
    return None if found is None else tuple(found)


def _build(cfg: Config) -> nn.Module:
    """Build a config's model as MMEngine's Runner does."""
    if not cfg.get('model'):
        raise ValueError(
            f'{cfg.filename} has no `model`, so there is nothing to export.'
        )
    architecture = cfg.model.to_dict()
    if cfg.get('data_preprocessor') is not None:
        architecture.setdefault(
            'data_preprocessor', cfg.data_preprocessor.to_dict()
        )
    scope = cfg.get('default_scope') or 'mmengine'
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(architecture)


def _read(checkpoint: str) -> Mapping[str, Any]:
    """Content of a checkpoint, of whatever origin."""
    if '://' not in checkpoint and not osp.isfile(checkpoint):
        raise ValueError(f'There is no checkpoint {checkpoint}.')
    try:
        if osp.basename(checkpoint) == WEIGHTS:
            return torch.load(checkpoint, 'cpu', weights_only=True)
        return CheckpointLoader.load_checkpoint(checkpoint, 'cpu')
    except Exception as error:  # broken files raise anything
        raise ValueError(
            f'{checkpoint} cannot be read as a checkpoint '
            f'({type(error).__name__}: {str(error).splitlines()[:1]}). '
            'Expected a file that torch.save wrote.'
        ) from error


def _load(
    model: nn.Module, content: Mapping[str, Any], checkpoint: str
) -> None:
    """Load a checkpoint of any width, in place."""
    state = content.get('state_dict', content)
    if not any(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f'{checkpoint} holds no weights: its keys are '
            f'{", ".join(map(str, list(state)[:8]))}. Expected a state dict, '
            "or a checkpoint with the entry 'state_dict'."
        )
    found = resize_on_load(model).load_state_dict(state, strict=False)
    if found.missing_keys:
        raise ValueError(
            f'{checkpoint} lacks {len(found.missing_keys)} tensors of '
            f'{type(model).__name__}: {_some(found.missing_keys)}. Give the '
            'config that the checkpoint was made with.'
        )
    if found.unexpected_keys:
        print_log(
            f'{checkpoint}: {type(model).__name__} has no '
            f'{_some(found.unexpected_keys)}; left out.',
            logger='current',
        )
    derive_again(model)


def _some(names: Sequence[str]) -> str:
    more = f' and {len(names) - 4} more' if names[4:] else ''
    return ', '.join(names[:4]) + more


def _classes(content: Mapping[str, Any]) -> Optional[list[str]]:
    meta = (content.get('meta') or {}).get('dataset_meta') or {}
    found = meta.get('classes') or meta.get('CLASSES')
    return None if found is None else [str(name) for name in found]
