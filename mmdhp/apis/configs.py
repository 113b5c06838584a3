"""Configs by path or by library, and the models they describe."""

import difflib
import glob
import importlib.util
import os.path as osp
from collections.abc import Mapping
from typing import Any, Optional

import mmengine
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import CheckpointLoader
from torch import nn

from mmdhp.checkpoints.checkpoint_file import read_checkpoint
from mmdhp.registry import SCOPE
from mmdhp.release.loader_package import COMPAT

EXTRAS = ('mmpretrain', 'mmagic', 'mmdet')  # of our own setup.py
ROOT = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))


def find_config(name: str) -> str:
    """Path of a config.

    Args:
        name (str): A file, or ``LIBRARY::PATH`` for one that a library ships,
            such as ``'mmpretrain::resnet/resnet50_8xb32_in1k.py'``.

    Raises:
        FileNotFoundError: If there is none; names the nearest ones.
        ModuleNotFoundError: If the library is not installed.
    """
    library, scoped, inner = name.partition('::')
    if not scoped:
        if osp.isfile(name):
            return name
        raise FileNotFoundError(
            f'there is no config {name}. Give a file, or one that a library '
            'ships, such as mmpretrain::resnet/resnet50_8xb32_in1k.py.'
        )
    folder = config_folder(library)
    path = osp.join(folder, inner)
    if osp.isfile(path):
        return path
    known = glob.glob(osp.join(folder, '**', '*.py'), recursive=True)
    shipped = [osp.relpath(file, folder) for file in known]
    near = difflib.get_close_matches(inner, shipped, 3, 0.4)
    hint = ', '.join(f'{library}::{file}' for file in near)
    raise FileNotFoundError(
        f'{library} ships no config {inner}; it has {len(shipped)} in '
        f'{folder}. The nearest are {hint or "none"}.'
    )


def config_folder(library: str) -> str:
    """Folder of the configs that a library ships.

    Raises:
        ModuleNotFoundError: If it is not installed, or ships none.
    """
    spec = None
    if library.isidentifier():
        spec = importlib.util.find_spec(library)
    extra = f"mmdhp[{library}]'" if library in EXTRAS else f"{library}'"
    if spec is None or not spec.origin:
        raise ModuleNotFoundError(
            f"{library!r} is not installed: `pip install '{extra}`, or give "
            'the path of a config.'
        )
    folders = [osp.join(osp.dirname(spec.origin), '.mim', 'configs')]
    if library == SCOPE:  # run from its repository
        folders.append(osp.join(ROOT, 'configs'))
    for folder in folders:
        if osp.isdir(folder):
            return folder
    raise ModuleNotFoundError(
        f'{library} is installed, but without its configs ({folders[0]} is '
        'absent). Install it from a wheel, or give the path of a config.'
    )


def read_config(name: str) -> Config:
    """Read a config by path or by library, see :func:`find_config`.

    Raises:
        FileNotFoundError: If there is none.
        ModuleNotFoundError: If the library is not installed.
        ValueError: If it is not valid Python, or describes no model.
    """
    path = find_config(name)
    try:
        cfg = Config.fromfile(path)
    except SyntaxError as error:
        raise ValueError(f'{path}: {error}') from None
    if not cfg.get('model'):
        raise ValueError(
            f'{path} has no model. Give the config of a whole network, not '
            'one of the parts that such a config inherits from.'
        )
    return cfg


def pruner_of(cfg: Config) -> dict[str, Any]:
    """Config of the pruner of a config; empty if it has none."""
    return dict((cfg.get('optim_wrapper') or {}).get('pruner') or {})


def model_config(cfg: Config) -> dict[str, Any]:
    """``model`` of a config as the Runner builds it."""
    model = cfg.model.to_dict()
    if cfg.get('data_preprocessor') is not None:
        preprocessor = cfg.data_preprocessor.to_dict()
        model.setdefault('data_preprocessor', preprocessor)
    return model


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config; its default scope becomes current.

    Args:
        cfg (Config): With ``model``, and ``default_scope`` if need be.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    return MODELS.build(model_config(cfg))


def needs_compat(cfg: Config) -> bool:
    """Whether the library of a config is one that mmdhp lets import."""
    return cfg.get('default_scope') in COMPAT


def read_weights(path: str) -> Mapping[str, Any]:
    """Read a checkpoint, to the CPU.

    Args:
        path (str): File or URL.

    Raises:
        ValueError: If it cannot be read, or holds no weights.
    """
    if '://' in path:
        return CheckpointLoader.load_checkpoint(path, map_location='cpu')
    return read_checkpoint(path)


def released_weights(path: str) -> Optional[str]:
    """URL of the weights that a library releases for one of its configs.

    Args:
        path (str): Of a config with a ``metafile.yml`` beside it.

    Returns:
        str | None: None if its metafile names none.
    """
    metafile = osp.join(osp.dirname(path), 'metafile.yml')
    if not osp.isfile(metafile):
        return None
    models = (mmengine.load(metafile) or {}).get('Models') or []
    for entry in models:
        if osp.basename(str(entry.get('Config'))) == osp.basename(path):
            if entry.get('Weights'):
                return str(entry['Weights'])
    return None
