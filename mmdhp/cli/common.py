"""What commands and tools share: options, config checks, messages."""

import argparse
import contextlib
import os
import os.path as osp
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device

from mmdhp.apis.configs import find_config
from mmdhp.checkpoints.checkpoint_file import checkpoints_in, problem_of

from .script import PACKAGE

SAMPLE_CONFIG = 'configs/dhp/srresnet_dhp40_sample.py'
DELIBERATE = (
    FileExistsError,
    FileNotFoundError,
    ImportError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that OpenMMLab's tools have in common."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override entries of the config, as key=value; nested keys with '
        'dots, lists as key="[a,b]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher (default: none, one process)',
    )
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help=argparse.SUPPRESS,
    )


def parse_changes(pairs: Optional[Sequence[str]]) -> dict[str, Any]:
    """Read ``key=value`` pairs as MMEngine's ``DictAction`` does.

    Raises:
        ValueError: If one has no ``=``.
    """
    bare = [pair for pair in pairs or () if '=' not in pair]
    if bare:
        raise ValueError(
            f'--cfg-options {" ".join(bare)} has no "=". Write key=value.'
        )
    parser = argparse.ArgumentParser()
    parser.add_argument('--changes', nargs='*', action=DictAction)
    return parser.parse_args(['--changes', *(pairs or ())]).changes


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the common options."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    try:
        cfg = Config.fromfile(find_config(args.config))
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise SystemExit(f'error: {error}') from None
    except SyntaxError as error:
        raise SystemExit(f'error: {args.config}: {error}') from None
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
        checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
        if checkpoint is not None:  # MMagic's goes elsewhere
            checkpoint.pop('out_dir', None)
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(args.config))[0]
        cfg.work_dir = osp.join('work_dirs', name)
    return cfg


def prepare_processes(cfg: Config) -> None:
    """Let several processes train without a GPU, in place.

    MMEngine's launcher and its default wrapper select a GPU per process.
    """
    if cfg.launcher != 'pytorch' or get_device() != 'cpu':
        return
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Show errors that are raised on purpose without their traceback.

    Those are the ones behind a ``raise`` in mmdhp, and what MMEngine says
    about configs it cannot build. Set ``MMDHP_TRACEBACK=1`` for tracebacks.
    """
    try:
        yield
    except DELIBERATE as error:
        if os.environ.get('MMDHP_TRACEBACK') or not deliberate(error):
            raise
        message = error.args[0] if error.args else type(error).__name__
        raise SystemExit(f'error: {message}') from None


def deliberate(error: BaseException) -> bool:
    """Whether an error tells about the user's input, not about a defect."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if frame.name in ('build_from_cfg', 'build_model_from_cfg'):
        return True
    own = frame.filename.startswith(PACKAGE + osp.sep)
    return own and (frame.line or '').startswith('raise')


def check_dataloader(cfg: Config, key: str, needed_for: str) -> None:
    """Stop with one clear message if a data set is not there.

    Args:
        cfg (Config): The config.
        key (str): ``'train_dataloader'`` and the like.
        needed_for (str): What cannot happen without it.
    """
    loaders = cfg.get(key)
    if not loaders:
        raise SystemExit(
            f'error: {cfg.filename or "the config"} has no {key}, so there '
            f'is nothing to {needed_for} on. Inherit one, for example from '
            "_base_ = ['../_base_/datasets/sample_x4.py']."
        )
    for loader in loaders if isinstance(loaders, (list, tuple)) else [loaders]:
        missing = missing_path(loader.get('dataset'))
        if missing is not None:
            raise SystemExit(
                f'error: {key} needs {missing}, which does not exist here '
                f'({os.getcwd()}).\n'
                'docs/datasets.md tells how to get and where to put it; '
                'point the config elsewhere with\n'
                f'  --cfg-options {key}.dataset.data_root=PATH\n'
                'To try the whole pipeline without any download: make demo, '
                f'or tools/train.py {SAMPLE_CONFIG}'
            )


def missing_path(dataset: Optional[Mapping[str, Any]]) -> Optional[str]:
    """First path of a dataset config that does not exist."""
    if not isinstance(dataset, (dict, ConfigDict)):
        return None
    for inner in [dataset.get('dataset'), *(dataset.get('datasets') or [])]:
        found = missing_path(inner)
        if found is not None:
            return found
    root = dataset.get('data_root') or ''
    if '://' in root or _downloads_itself(dataset):
        return None
    wanted = [root] if root else []
    prefix = dataset.get('data_prefix')
    if isinstance(prefix, str):
        wanted.append(osp.join(root, prefix))
    elif isinstance(prefix, Mapping):
        wanted += [osp.join(root, p) for p in prefix.values() if p is not None]
    if dataset.get('ann_file'):
        wanted.append(osp.join(root, dataset['ann_file']))
    return next((p for p in wanted if p and not osp.exists(p)), None)


def _downloads_itself(dataset: Mapping[str, Any]) -> bool:
    name = str(dataset.get('type', '')).rpartition('.')[2]
    downloadable = name.startswith(('CIFAR', 'MNIST', 'FashionMNIST'))
    return downloadable and dataset.get('download', True)


def check_checkpoint(path: str) -> None:
    """Stop with a clear message if a checkpoint cannot be read.

    Args:
        path (str): File; URLs are left to MMEngine.
    """
    if '://' in path:
        return
    if not osp.isfile(path):
        raise SystemExit(f'error: there is no checkpoint {path}.')
    problem = problem_of(path)
    if problem is not None:
        others = [p for p in checkpoints_in(osp.dirname(path)) if p != path]
        names = ', '.join(osp.basename(p) for p in others[:5])
        hint = f' Others in its folder, newest first: {names}.'
        raise SystemExit(
            f'error: {path} ({osp.getsize(path)} bytes) cannot be read: '
            f'{problem}.{hint if names else ""}'
        )
