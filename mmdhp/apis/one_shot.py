"""Prunes a trained checkpoint at once, without a training run."""

import itertools
import os
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner
from mmengine.runner.checkpoint import weights_to_cpu
from torch import Tensor, nn

from mmdhp.checks.exactness import check_exact
from mmdhp.checks.weights import check_trained
from mmdhp.engine.messages import group_table
from mmdhp.methods import OneShot
from mmdhp.models.model_forward import run_model
from mmdhp.release.folder import check_exportable, write_folder
from mmdhp.release.plain_config import without_widening
from mmdhp.release.summary import channel_summary, checkpoint_meta
from mmdhp.stages.calibration import estimate_statistics, tracking_norms
from mmdhp.surgery import shrink

from .base_facts import DEFAULT_CONSTRUCTOR, fine_tune_rate
from .configs import build_model, pruner_of, read_config, read_weights
from .input_shape import InputShape, find_input_shape

# Options that a config's own pruner hands on.
OPTIONS = (
    'exclude',
    'groups',
    'safe_norms',
    'min_channels',
    'floors',
    'max_ratio',
    'kinds',
)
FINE_TUNE = 'fine_tune.py'


@dataclass(frozen=True)
class PrunedFolder:
    """What pruning a checkpoint has made.

    Args:
        folder (str): With ``pruned.pth``, ``pruned_config.py`` and the rest.
        fine_tune (str): Config that trains it further.
        table (str): Kept channels of every group, MACs and parameters.
        macs (float): MACs left, as a fraction.
        params (float): Parameters left, as a fraction.
        difference (float): Of masked and shrunk output, relative.
        batches (int): From which BatchNorm statistics are.
        input_shape (InputShape): At which MACs are counted.
    """

    folder: str
    fine_tune: str
    table: str
    macs: float
    params: float
    difference: float
    batches: int
    input_shape: InputShape


def prune_checkpoint(
    config: str,
    checkpoint: str,
    target: Mapping[str, float],
    out: str,
    *,
    input_shape: Optional[Sequence[int]] = None,
    calibrate: int = 0,
    changes: Optional[Mapping[str, Any]] = None,
    **options: Any,
) -> PrunedFolder:
    """Prune a trained network by the importance of its channels.

    Args:
        config (str): File or ``LIBRARY::PATH`` that the network was trained
            with. Limits and exceptions of a pruner in it are kept.
        checkpoint (str): Its weights, file or URL.
        target (Mapping[str, float]): What is left, e.g. ``{'macs': 0.5}``.
        out (str): Folder for ``pruned/`` and a config for fine-tuning.
        input_shape (Sequence[int], optional): Without the batch axis. By
            default the config tells it.
        calibrate (int): Training batches from which the BatchNorm statistics
            of the pruned network are estimated. Defaults to 0.
        changes (Mapping, optional): Entries of the config to override, as
            ``{'train_dataloader.batch_size': 8}``.
        **options: Of :class:`mmdhp.methods.OneShot`.

    Raises:
        ValueError: If the checkpoint is not of a trained network of this
            config.
        GraphError: If nothing can be pruned or the target is out of reach.
        RuntimeError: If the pruned network would differ from the masked one.
    """
    cfg = prunable_config(read_config(config), changes)
    check_exportable(cfg)
    model = build_model(cfg).to(get_device())
    shape = find_input_shape(cfg, model, input_shape)
    given = {k: v for k, v in pruner_of(cfg).items() if k in OPTIONS}
    method = OneShot(dict(target), shape.shape, **{**given, **options})
    weights = read_weights(checkpoint)
    state = weights.get('state_dict', weights)
    load_trained(model, state, checkpoint)
    method.attach(model, run_model)
    check_trained(model, method.name)
    if method.batches:
        _show_gradients(cfg, model, method)
    keep = method.select()
    model.eval()
    difference = check_exact(model, method.graph, keep, shape.shape)
    shrink(model, method.graph, keep)
    batches = 0
    if calibrate and tracking_norms(model):
        batches = estimate_statistics(model, losses(cfg, model, calibrate))
    os.makedirs(out, exist_ok=True)
    folder = _export(out, cfg, model, method, keep, weights)
    macs, params = method.ratios(keep)
    return PrunedFolder(
        folder,
        _write_fine_tune(out, cfg),
        group_table(method, keep),
        macs,
        params,
        difference,
        batches,
        shape,
    )


def prunable_config(
    cfg: Config, changes: Optional[Mapping[str, Any]] = None
) -> Config:
    """A config whose model is the plain network, ready for export.

    Args:
        cfg (Config): As read.
        changes (Mapping, optional): Entries to override.
    """
    cfg = without_widening(cfg)
    if changes:
        cfg.merge_from_dict(dict(changes))
    wrapper = cfg.get('optim_wrapper') or {}
    constructor = wrapper.get('constructor')
    if constructor and not pruner_of(cfg):
        wrapper.pop('constructor')
        if constructor != DEFAULT_CONSTRUCTOR:
            wrapper['base_constructor'] = {'type': constructor}
    return cfg


def load_trained(
    model: nn.Module, state: Mapping[str, Tensor], name: str
) -> None:
    """Load the weights of a trained network, in place.

    Args:
        model (nn.Module): As built from its config.
        state (Mapping[str, Tensor]): State dict.
        name (str): Of the checkpoint, for messages.

    Raises:
        ValueError: If parameters are missing or have other shapes.
    """
    own = dict(model.named_parameters())
    missing = [key for key in own if key not in state]
    other = [
        f'{key}: {tuple(state[key].shape)} against {tuple(value.shape)}'
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if missing or other:
        shown = '\n  '.join([*other, *(f'{k}: missing' for k in missing)][:8])
        raise ValueError(
            f'{name} does not fit {type(model).__name__}: {len(other)} of '
            f'{len(own)} parameters have other shapes, {len(missing)} are '
            f'missing.\n  {shown}\nGive the config that it was trained with; '
            'a network that was pruned before is fine-tuned, not pruned again.'
        )
    model.load_state_dict(dict(state), strict=False)


def losses(cfg: Config, model: Any, batches: int) -> Iterator[Tensor]:
    """Losses of a model, in its present mode, on training batches.

    Args:
        cfg (Config): With ``train_dataloader``.
        model (nn.Module): One of OpenMMLab's.
        batches (int): Number of batches; with fewer in the data set, all.
    """
    loader_cfg = cfg.train_dataloader.to_dict()
    loader_cfg.update(num_workers=0, persistent_workers=False)
    loader = Runner.build_dataloader(loader_cfg, seed=0)
    for data in itertools.islice(loader, batches):
        data = model.data_preprocessor(data, True)
        loss, _ = model.parse_losses(model._run_forward(data, mode='loss'))
        yield loss


def _show_gradients(cfg: Config, model: nn.Module, method: OneShot) -> None:
    """Let the Taylor criterion see the gradients of some batches."""
    model.eval()
    for loss in losses(cfg, model, method.batches):
        loss.backward()
        method.pull()
        model.zero_grad(set_to_none=True)


def _export(
    out: str,
    cfg: Config,
    model: nn.Module,
    method: OneShot,
    keep: Tensor,
    weights: Mapping[str, Any],
) -> str:
    known = (weights.get('meta') or {}).get('dataset_meta') or {}
    meta = checkpoint_meta(method, known)
    state = weights_to_cpu(model.state_dict())
    summary = channel_summary(method, keep, model, {})
    checkpoint = {'meta': meta, 'state_dict': state}
    return write_folder(out, cfg, checkpoint, summary)


def _write_fine_tune(out: str, cfg: Config) -> str:
    """Config that trains the pruned network further."""
    lines = [
        '# Fine-tunes the pruned network: mmdhp train THIS_FILE',
        "_base_ = './pruned/pruned_config.py'",
        '',
        "load_from = '{{ fileDirname }}/pruned/pruned.pth'",
    ]
    rate = fine_tune_rate((cfg.get('optim_wrapper') or {}).get('optimizer'))
    if rate is not None and not pruner_of(cfg):
        lines += [
            '# A tenth of the rate for training from scratch.',
            f'optim_wrapper = dict(optimizer=dict(lr={rate!r}))',
        ]
    path = osp.join(out, FINE_TUNE)
    with open(path, 'w', encoding='utf-8') as file:
        file.write('\n'.join([*lines, '']))
    return path
