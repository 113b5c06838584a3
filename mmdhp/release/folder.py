"""Writes a pruned model as a folder that does not need ``mmdhp``."""

import json
import os
import os.path as osp
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config

from .loader_package import package_sources, write_package
from .plain_config import CHANNELS, config_text, without_widening

FOLDER = 'pruned'
WEIGHTS = 'pruned.pth'
CONFIG = 'pruned_config.py'


def check_exportable(cfg: Config) -> None:
    """Find out before the training whether it can be exported.

    Raises:
        KeyError: If the config names a type of mmdhp that does not exist.
        RuntimeError: If a network of mmdhp depends on the rest of it.
    """
    package_sources(without_widening(cfg))


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
