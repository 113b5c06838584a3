"""Finished runs on disk: what they measured, what their networks cost."""

import glob
import json
import os.path as osp
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmdhp.graph import trace
from mmdhp.models.model_forward import run_model


@dataclass
class Run:
    """A finished run.

    Args:
        name (str): For tables.
        method (str): Pruning method; empty for a network as it was built.
        config (str): Path of a config that builds the network.
        metrics (dict[str, float]): Last validation.
        macs (int | None): Multiply-accumulates of one input; None if only a
            trace can tell.
        params (int | None): Number of parameters, likewise.
        whole_macs (int | None): Those of the original network, likewise.
        whole_params (int | None): Likewise.
        input_shape (tuple[int] | None): At which MACs are counted.
    """

    name: str
    method: str
    config: str
    metrics: dict[str, float]
    macs: Optional[int] = None
    params: Optional[int] = None
    whole_macs: Optional[int] = None
    whole_params: Optional[int] = None
    input_shape: Optional[tuple[int, ...]] = None
    latency: Optional[float] = field(default=None, compare=False)

    def build(self) -> nn.Module:
        """The network, with random weights, in eval mode."""
        cfg = Config.fromfile(self.config)
        init_default_scope(cfg.get('default_scope') or 'mmengine')
        model_cfg: Any = cfg.model
        if cfg.get('data_preprocessor') is not None:
            model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
        return MODELS.build(model_cfg).eval()

    def count(self, input_shape: tuple[int, ...]) -> None:
        """Trace a network that was not pruned, for its MACs and params."""
        graph = trace(
            self.build(), torch.zeros(2, *input_shape), forward=run_model
        )
        self.macs = self.whole_macs = int(graph.macs())
        self.params = self.whole_params = int(graph.params())
        self.input_shape = tuple(input_shape)


def read_run(argument: str) -> Run:
    """Read a run from ``PATH`` or ``NAME=PATH``.

    Args:
        argument (str): A work folder, or an exported folder.

    Raises:
        ValueError: If there is nothing to read; says what was looked for.
    """
    name, _, path = argument.rpartition('=')
    path = path.rstrip('/')
    if not osp.isdir(path):
        raise ValueError(f'there is no folder {path}.')
    name = name or osp.basename(osp.abspath(path))
    for folder in (osp.join(path, 'pruned'), path):
        if osp.isfile(osp.join(folder, 'channels.json')):
            return _pruned_run(name, folder)
    return _plain_run(name, path)


def _pruned_run(name: str, folder: str) -> Run:
    with open(osp.join(folder, 'channels.json'), encoding='utf-8') as file:
        content = json.load(file)
    return Run(
        name,
        content['method'],
        osp.join(folder, 'pruned_config.py'),
        content['metrics'],
        content['macs']['pruned'],
        content['params']['pruned'],
        content['macs']['original'],
        content['params']['original'],
        tuple(content['input_shape']),
    )


def _plain_run(name: str, folder: str) -> Run:
    configs = sorted(glob.glob(osp.join(folder, '*.py')), key=osp.getmtime)
    logs = sorted(glob.glob(osp.join(folder, '*', 'vis_data', '*.json')))
    logs = [log for log in logs if osp.basename(log) != 'config.json']
    if not configs or not logs:
        raise ValueError(
            f'{folder} is neither a pruned run (no channels.json, no '
            'pruned/channels.json) nor a finished training (it has '
            f'{len(configs)} configs and {len(logs)} logs).'
        )
    return Run(name, '', configs[-1], _last_metrics(logs))


def _last_metrics(logs: list[str]) -> dict[str, float]:
    """The last entry of the logs that is a validation."""
    metrics: dict[str, float] = {}
    for log in logs:
        with open(log, encoding='utf-8') as file:
            for line in file:
                entry = json.loads(line)
                if 'loss' not in entry and 'lr' not in entry:
                    metrics = entry
    skipped = ('step', 'data_time', 'time')
    return {
        key: float(value)
        for key, value in metrics.items()
        if key not in skipped and isinstance(value, (int, float))
    }
