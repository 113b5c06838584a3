"""Checkpoint files: read without running code that they may contain."""

import logging
import os
import os.path as osp
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import Runner

TRUST = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'  # PyTorch's own variable
_ARRAYS = getattr(np, '_core', None) or np.core  # NumPy 2 or 1
_STARTS = (
    (b'version https://git-lfs', "a pointer of Git LFS: run 'git lfs pull'"),
    (b'<', 'a web page or XML: the download has failed'),
    (b'{', 'JSON'),
    (b'\x89HDF', 'HDF5'),
    (b'\xff\xd8', 'an image'),
    (b'\x89PNG', 'an image'),
    (b'\x1f\x8b', 'a gzip archive: unpack it'),
)


def allow_logs() -> None:
    """Let PyTorch read the numbers that MMEngine saves beside weights.

    They are plain data and the names of methods to average them (found by
    ``getattr``, not called), but older versions of MMEngine do not tell
    PyTorch, whose newer versions refuse what they do not know.
    """
    allow: Any = getattr(torch.serialization, 'add_safe_globals', None)
    if allow is not None:
        kinds = (np.float32, np.float64, np.int32, np.int64, np.uint32)
        allow(
            [
                getattr,
                HistoryBuffer,
                _ARRAYS.multiarray._reconstruct,
                _ARRAYS.multiarray.scalar,
                np.ndarray,
                np.dtype,
                *(type(np.dtype(kind)) for kind in kinds),
            ]
        )


def read_checkpoint(path: str) -> dict[str, Any]:
    """Load a local checkpoint to the CPU, tensors and plain data only.

    Tensors are mapped into memory, not read.

    Args:
        path (str): Of a file that any version of PyTorch wrote.

    Returns:
        dict: Its content.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read; says why and what to do.
    """
    path = osp.expanduser(path)
    if not osp.exists(path):
        raise FileNotFoundError(f'There is no checkpoint {path}.')
    problem = problem_of(path)
    if problem is not None:
        size = f'{osp.getsize(path)} bytes' if osp.isfile(path) else 'a folder'
        raise ValueError(
            f'The checkpoint {path} ({size}) cannot be read: {problem}.'
        )
    return _load(path)


def problem_of(path: str) -> Optional[str]:
    """Why a checkpoint file cannot be read; None if it can.

    Args:
        path (str): Of something that exists.
    """
    if osp.isdir(path):
        return 'it is a folder; name a file in it'
    with open(path, 'rb') as file:
        start = file.read(64)
    if not start:
        return 'it is empty; whoever wrote it was killed, or the disk is full'
    if start.startswith(b'PK'):
        problem = _problem_of_archive(path)
    else:
        problem = _problem_of_start(start)
    return problem or _problem_of_content(path)


def check_start(runner: Runner) -> None:
    """Find and check the local checkpoint that a Runner will load, in place.

    Where it is to resume from the last one, that is the last one which is
    whole; without any, it starts anew.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    allow_logs()
    if runner._resume and runner._load_from is None:
        runner._load_from = resume_point(runner.work_dir)
        runner._resume = runner._load_from is not None
    path = runner._load_from
    if path is not None and ':' not in osp.splitdrive(path)[1]:
        read_checkpoint(path)


def resume_point(work_dir: str) -> Optional[str]:
    """The checkpoint to continue a run from, wherever it was killed.

    Usually the one that ``last_checkpoint`` names. MMEngine writes that file
    in place, so that a killed run may leave it empty; the run then goes on
    from the newest checkpoint that is whole.

    Args:
        work_dir (str): Of the run; it may have been moved.

    Returns:
        str | None: None if the run has written no checkpoint.

    Raises:
        ValueError: If no checkpoint can be read; tells why not, for each.
    """
    damaged: list[str] = []
    for path in dict.fromkeys(_candidates(work_dir)):
        problem = problem_of(path)
        if problem is None:
            if damaged:
                print_log(
                    f'{"; ".join(damaged)}. Resuming from {path}.',
                    logger='current',
                    level=logging.WARNING,
                )
            return path
        damaged.append(f'{path} cannot be read: {problem}')
    if damaged:
        raise ValueError(
            f'No checkpoint to resume from: {"; ".join(damaged)}. Start the '
            'run anew, without --resume.'
        )
    return None


def _candidates(work_dir: str) -> Iterator[str]:
    """Files that a run may be resumed from, the likeliest first."""
    marker, marked = osp.join(work_dir, 'last_checkpoint'), ''
    if osp.isfile(marker):
        with open(marker, encoding='utf-8', errors='replace') as file:
            marked = file.read().strip()
    if marked:
        here = osp.join(work_dir, osp.basename(marked))  # if it was moved
        yield from filter(osp.isfile, (marked, here))
        yield from _resumable(osp.dirname(marked))
    yield from _resumable(work_dir)


def _resumable(folder: str) -> list[str]:
    found = map(osp.basename, checkpoints_in(folder))
    return [
        osp.join(folder, name)
        for name in found
        if not name.startswith('best_')  # has no optimizer
    ]


def checkpoints_in(folder: str) -> list[str]:
    """Checkpoints of a folder, newest first."""
    if not osp.isdir(folder):
        return []
    paths = [osp.join(folder, f) for f in os.listdir(folder)]
    paths = [p for p in paths if p.endswith('.pth') and osp.isfile(p)]
    return sorted(paths, key=osp.getmtime, reverse=True)


def _load(path: str) -> Any:
    trusted = os.environ.get(TRUST, '0').lower() in ('1', 'y', 'yes', 'true')
    options: dict[str, Any] = {'map_location': 'cpu'}
    if zipfile.is_zipfile(path):
        options['mmap'] = True
    allow_logs()
    safe = hasattr(torch.serialization, 'add_safe_globals')  # 2.4 on
    return torch.load(path, weights_only=safe and not trusted, **options)


def _problem_of_archive(path: str) -> Optional[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [name.rpartition('/')[2] for name in archive.namelist()]
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError):
        return (
            'it is truncated: whoever wrote it was killed, the disk is full, '
            'or it was not copied whole'
        )
    if broken is not None:
        return f'its part {broken} is damaged; copy or download it again'
    if 'constants.pkl' in parts:
        return 'it is a TorchScript program, not a checkpoint'
    if 'data.pkl' not in parts:
        return 'it is an archive, but no PyTorch checkpoint'
    return None


def _problem_of_start(start: bytes) -> Optional[str]:
    if start.startswith(b'\x80\x02'):  # written by PyTorch before 1.6
        return None
    for known, kind in _STARTS:
        if start.startswith(known):
            return f'it is no PyTorch checkpoint, but {kind}'
    return (
        'it is truncated or no PyTorch checkpoint (it starts with '
        f'{start[:12]!r})'
    )


def _problem_of_content(path: str) -> Optional[str]:
    try:
        found = _load(path)
    except pickle.UnpicklingError as error:
        code = _code_in(path)
        if not code and 'nsupported' not in str(error):
            return f'its content is damaged ({str(error).splitlines()[-1]})'
        return (
            f'it holds more than tensors and plain data{code}, and reading '
            'that runs code from the file. If you trust where it comes from, '
            f'set {TRUST}=1'
        )
    except Exception as error:  # whatever damaged content leads to
        return f'its content is damaged ({type(error).__name__})'
    if not isinstance(found, Mapping):
        return f'it holds a {type(found).__name__}, not a dict of weights'
    weights = found.get('state_dict', found)
    if not isinstance(weights, Mapping):
        kind = type(weights).__name__
        return f"its 'state_dict' is a {kind}, not a dict of weights"
    if not any(isinstance(value, torch.Tensor) for value in weights.values()):
        names = ', '.join(map(str, list(weights)[:5])) or 'nothing'
        return f'it holds no weights (but {names})'
    return None


def _code_in(path: str) -> str:
    """Names of what a checkpoint holds besides data, for a message."""
    names: Any = getattr(
        torch.serialization, 'get_unsafe_globals_in_checkpoint', None
    )
    try:
        found = names(path) if names else []
    except Exception:  # an older format, which it does not read
        found = []
    return f' ({", ".join(sorted(found)[:5])})' if found else ''
