"""Writes a pruning config for any OpenMMLab config."""

import os
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

import torch
from mmengine.config import Config

from mmdhp.engine.constructor import build_pruner
from mmdhp.methods import Pruner
from mmdhp.methods.options import accepted
from mmdhp.models.model_forward import run_model

from .base_facts import read_facts
from .config_text import METHODS, Request, config_text
from .configs import build_model, find_config, read_config, released_weights
from .input_shape import InputShape, find_input_shape


@dataclass(frozen=True)
class Written:
    """A config that was written and tried.

    Args:
        path (str): The file.
        input_shape (InputShape): At which MACs are counted.
        groups (int): Number of groups that can be pruned.
        macs (float): MACs of the first selection, as a fraction.
        params (float): Its parameters, likewise.
        load_from (str | None): Weights that it starts from.
    """

    path: str
    input_shape: InputShape
    groups: int
    macs: float
    params: float
    load_from: Optional[str]


def write_config(
    base: str,
    method: str,
    target: Mapping[str, float],
    out: str,
    *,
    checkpoint: Optional[str] = None,
    input_shape: Optional[Sequence[int]] = None,
    divisor: int = 1,
    force: bool = False,
) -> Written:
    """Write a config that prunes what another config trains, and try it.

    It inherits from the base, and is built, traced and selected from once; if
    that fails, no file is left.

    Args:
        base (str): A file, or ``LIBRARY::PATH``.
        method (str): One of :data:`METHODS`.
        target (Mapping[str, float]): What is left, e.g. ``{'macs': 0.5}``.
        out (str): Path of the new config, ``.py``.
        checkpoint (str, optional): Weights of the trained network, for
            methods that keep them. Defaults to those that the library
            releases for the base.
        input_shape (Sequence[int], optional): Without the batch axis. By
            default the base's pipelines tell it.
        divisor (int): Kept channels are multiples of it. Defaults to 1.
        force (bool): Replace an existing file. Defaults to False.

    Raises:
        FileExistsError: If ``out`` exists and ``force`` is not set.
        ValueError: If the base cannot be pruned as it is, the method needs
            trained weights and none are known, or nothing tells the input.
        GraphError: If nothing can be pruned or the target is out of reach.
    """
    _check_request(method, out, force)
    path = find_config(base)
    if Config._is_lazy_import(path):
        raise ValueError(
            f'{path} is a pure Python config (it imports its parts), from '
            'which a config with `_base_` cannot inherit. Give its textual '
            'twin, such as mmpretrain::resnet/resnet50_8xb32_in1k.py.'
        )
    cfg = read_config(base)
    facts = read_facts(cfg)
    weights = _weights(method, checkpoint, path)
    shape = find_input_shape(cfg, build_model(cfg), input_shape)
    named = _base_path(base, path, out)
    request = Request(named, method, dict(target), shape, divisor, weights)
    text = config_text(request, facts)
    old = None
    if osp.isfile(out):
        with open(out, encoding='utf-8') as file:
            old = file.read()
    _write(out, text)
    try:
        pruner = try_config(out)
    except BaseException:
        if old is None:
            os.remove(out)
        else:
            _write(out, old)
        raise
    macs, params = pruner.ratios(pruner.select())
    groups = len(pruner.graph.groups)
    return Written(out, shape, groups, macs, params, weights)


def try_config(path: str) -> Pruner:
    """Build the model of a pruning config and attach its pruner.

    Args:
        path (str): The config.

    Returns:
        Pruner: Ready to select. A hypernetwork has the smallest embedding,
        which takes a tenth of the memory.
    """
    cfg = Config.fromfile(path)
    model = build_model(cfg)
    pruner_cfg = cfg.optim_wrapper.pruner.to_dict()
    name = pruner_cfg['type'].rpartition('.')[2]
    (method,) = [m for m in METHODS.values() if m.__name__ == name]
    if 'embedding_dim' in accepted(method):
        pruner_cfg['embedding_dim'] = 1
    pruner = build_pruner(pruner_cfg)
    with torch.no_grad():
        pruner.attach(model, run_model)
    return pruner


def _check_request(method: str, out: str, force: bool) -> None:
    if method not in METHODS:
        raise ValueError(
            f'method is {method!r}; there are {", ".join(METHODS)}.'
        )
    stem, extension = osp.splitext(osp.basename(out))
    if extension != '.py' or '.' in stem:
        raise ValueError(
            f'{out} cannot be a config: MMEngine reads files whose names end '
            'with .py and have no other dot.'
        )
    if osp.exists(out) and not force:
        raise FileExistsError(
            f'{out} exists. Choose another name, or replace it with --force.'
        )


def _weights(method: str, given: Optional[str], path: str) -> Optional[str]:
    """Weights to start from, for methods that keep weights."""
    if METHODS[method].keeps_weights or method == 'oneshot':
        found = given or released_weights(path)
        if found is None:
            raise ValueError(
                f'{METHODS[method].__name__} prunes a trained network, and no '
                f'metafile beside {path} names its weights. Give them as '
                '--checkpoint PATH.'
            )
        return found
    if given is not None:
        raise ValueError(
            f'{METHODS[method].__name__} generates its weights, so the '
            f'checkpoint {given} would not be used. Leave it out, or use hsn '
            'or oneshot.'
        )
    return None


def _base_path(base: str, path: str, out: str) -> str:
    """How the new config names its base."""
    if '::' in base and f'{os.sep}.mim{os.sep}' in path:
        return base
    folder = osp.dirname(osp.abspath(out))
    return osp.relpath(path, folder).replace(os.sep, '/')


def _write(path: str, text: str) -> None:
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
