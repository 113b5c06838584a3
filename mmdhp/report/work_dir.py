"""Everything that a run has left in its folder."""

import glob
import json
import os.path as osp
import time
from dataclasses import dataclass, field
from typing import Any, Optional

from mmengine.config import Config

from .logs import Course, cut_of_checkpoints, environment, read_course

STATES = {
    'search': 'in search',
    'fine_tune': 'in fine-tuning',
    'finished': 'finished',
    'plain': 'a training without pruning',
}


@dataclass
class WorkDir:
    """A run on disk.

    Attributes:
        path (str): Its folder.
        state (str): A key of :data:`STATES`.
        course (Course): What happened.
        exported (dict): Content of ``pruned/channels.json``; empty without.
        config (str): Path of the newest config; empty without.
        cfg (Config | None): That config, if it can be read.
        environment (list): Name and value of machine and versions.
        missing (list[str]): What the report lacks, each with the reason.
    """

    path: str
    state: str
    course: Course
    exported: dict[str, Any] = field(default_factory=dict)
    config: str = ''
    cfg: Optional[Config] = None
    environment: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return osp.basename(osp.abspath(self.path))

    @property
    def method(self) -> str:
        """Name of the method; empty for a training without one."""
        known = self.exported.get('method') or self.course.start.get('method')
        return str(known or self._pruner().get('type', '')).rpartition('.')[2]

    @property
    def target(self) -> str:
        """What was to be left, in words."""
        if 'target' in self.course.start:
            return str(self.course.start['target'])
        target = self.exported.get('target') or self._pruner().get('target')
        return ', '.join(
            f'{value:.2%} of the {"MACs" if key == "macs" else key}'
            for key, value in (target or {}).items()
            if isinstance(value, float)
        )

    @property
    def metrics(self) -> dict[str, float]:
        """Measures of the exported model, or of the last validation."""
        return self.exported.get('metrics') or self.course.metrics

    @property
    def cut_at(self) -> Optional[int]:
        """Iteration of the transition, None if it is to come."""
        if self.course.cut is not None:
            return int(self.course.cut['iter'])
        if self.state in ('search', 'plain') or self.course.start:
            return None
        return cut_of_checkpoints(self.path, self.course)

    def _pruner(self) -> dict[str, Any]:
        return pruner_of(self.cfg)


def read_work_dir(path: str) -> WorkDir:
    """Read the folder of a run, whatever state it is in.

    Args:
        path (str): The folder.

    Raises:
        ValueError: If there is no such folder, or nothing in it tells about
            a run.
    """
    if not osp.isdir(path):
        raise ValueError(
            f'there is no folder {path}; give the work folder of a run, the '
            'one with its time-stamped logs.'
        )
    course = read_course(path)
    configs = sorted(
        glob.glob(osp.join(glob.escape(path), '*.py')), key=osp.getmtime
    )
    channels = osp.join(path, 'pruned', 'channels.json')
    if not course.folders and not osp.isfile(channels):
        raise ValueError(
            f'{path} is no work folder of a run: it has neither time-stamped '
            'log folders nor pruned/channels.json. Give the folder that the '
            'run was started with (--work-dir).'
        )
    found = WorkDir(path, 'plain', course)
    found.config = configs[-1] if configs else ''
    if found.config:
        found.cfg = _read_config(found)
    _read_exported(found, channels)
    found.state = _state(found)
    found.environment = environment(path, course.folders)
    if not course.start and found.state != 'plain':
        found.missing.append(
            'Histograms of the search, kept channels of every layer, and '
            'frozen channels: the run has no pruning_history.jsonl, which '
            'this version of mmdhp writes. `mmdhp inspect CONFIG` lists the '
            'frozen channels.'
        )
    return found


def pruner_of(cfg: Optional[Config]) -> dict[str, Any]:
    """Config of the method; empty for a training without one."""
    wrapper = (cfg.get('optim_wrapper') if cfg is not None else None) or {}
    return wrapper.get('pruner') or {}


def _read_config(found: WorkDir) -> Optional[Config]:
    try:
        return Config.fromfile(found.config, import_custom_modules=False)
    except Exception as error:  # a config is a program
        found.missing.append(
            f'What follows from the config: {osp.basename(found.config)} '
            f'cannot be read here ({type(error).__name__}: {error}).'
        )
        return None


def _read_exported(found: WorkDir, channels: str) -> None:
    """Read the exported folder, unless an earlier run has left it."""
    if not osp.isfile(channels):
        return
    if _is_left_over(found.course, channels):
        found.missing.append(
            'The exported model: the folder pruned/ is that of an earlier '
            'run, so it is left out.'
        )
        return
    with open(channels, encoding='utf-8') as file:
        found.exported = json.load(file)


def _is_left_over(course: Course, channels: str) -> bool:
    """Whether a run has started, and not ended, behind an export."""
    if course.start or not course.trained:
        return bool(course.start) and not course.ended
    try:
        started = time.strptime(course.trained, '%Y%m%d_%H%M%S')
    except ValueError:
        return False  # the folder has a name of the user's
    return time.mktime(started) > osp.getmtime(channels)


def _state(found: WorkDir) -> str:
    course = found.course
    if found.exported or (course.ended and course.cut):
        return 'finished'
    pruning = bool(course.start or pruner_of(found.cfg))
    if not pruning:
        return 'plain'
    started = glob.glob(osp.join(glob.escape(found.path), 'pruned_start_*'))
    if course.cut or (started and not course.start):
        return 'fine_tune'
    return 'search'
