"""What a pruning config has to know about the config it inherits from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from mmengine.config import Config

from .configs import needs_compat, pruner_of
from .input_shape import is_detector, kind

WRAPPERS = {
    'OptimWrapper': 'mmdhp.PruningOptimWrapper',
    'AmpOptimWrapper': 'mmdhp.PruningAmpOptimWrapper',
}
DEFAULT_CONSTRUCTOR = 'DefaultOptimWrapperConstructor'
FINE_TUNE_RATE = 0.1  # of a rate that SGD started from scratch with
CLIP = {'max_norm': 35, 'norm_type': 2}


@dataclass(frozen=True)
class BaseFacts:
    """Facts about a base config.

    Args:
        wrapper (str): Type of the optimizer wrapper that searches.
        constructor (dict | None): Constructor of its own that the base uses.
        optimizer (dict): Config of its optimizer.
        unit (str): ``'max_epochs'`` or ``'max_iters'``.
        length (int): Of its training, in that unit.
        has_hooks (bool): Whether it has hooks of its own.
        imports (list[str] | None): Imports that mmdhp has to be added to, for
            libraries that need it; None where nothing is needed.
        best (str | None): Metric by which to keep the best checkpoint; None
            if unknown, or if the base names one itself.
        detector (bool): Whether it is one of MMDetection.
        restorer (bool): Whether it makes images.
        clips (bool): Whether it clips gradients.
        frozen (dict): Keys of the backbone that freeze it or load weights for
            it → values that do not.
    """

    wrapper: str
    constructor: Optional[dict]
    optimizer: dict
    unit: str
    length: int
    has_hooks: bool
    imports: Optional[list[str]]
    best: Optional[str]
    detector: bool
    restorer: bool
    clips: bool
    frozen: dict[str, Any]

    @property
    def widens_steps(self) -> bool:
        """Whether training from generated weights needs clipped gradients."""
        return self.detector and not self.clips


def read_facts(cfg: Config) -> BaseFacts:
    """Read the facts about a base config.

    Raises:
        ValueError: If it cannot be pruned as it is; lists all reasons.
    """
    problems = _problems(cfg)
    if problems:
        raise ValueError(
            f'{cfg.filename} cannot be the base of a pruning config: '
            f'{"; ".join(problems)}.'
        )
    wrapper = cfg.optim_wrapper
    constructor = wrapper.get('constructor') or DEFAULT_CONSTRUCTOR
    unit = _unit(cfg.train_cfg)
    assert unit is not None
    return BaseFacts(
        wrapper=WRAPPERS[kind({'type': wrapper.get('type', 'OptimWrapper')})],
        constructor=None
        if kind({'type': constructor}) == DEFAULT_CONSTRUCTOR
        else {'type': constructor},
        optimizer=wrapper.optimizer.to_dict(),
        unit=unit,
        length=cfg.train_cfg[unit],
        has_hooks=bool(cfg.get('custom_hooks')),
        imports=_imports(cfg),
        best=_best(cfg),
        detector=is_detector(cfg.model),
        restorer=bool(cfg.model.get('generator')),
        clips=bool(wrapper.get('clip_grad')),
        frozen=_frozen(cfg.model.get('backbone') or {}),
    )


def fine_tune_rate(optimizer: Optional[Mapping[str, Any]]) -> Optional[float]:
    """Learning rate behind the cut of a trained network.

    Args:
        optimizer (Mapping, optional): Config that trained it.

    Returns:
        float | None: None where the rate may stay as it is: adaptive
        optimizers start from small ones.

    Examples:
        >>> fine_tune_rate({'type': 'SGD', 'lr': 0.1})
        0.01
    """
    if not optimizer or optimizer.get('type') != 'SGD':
        return None
    return float(f'{optimizer["lr"] * FINE_TUNE_RATE:.6g}')


def _unit(train_cfg: Any) -> Optional[str]:
    found = train_cfg or {}
    for unit in ('max_epochs', 'max_iters'):
        if isinstance(found.get(unit), int):
            return unit
    return None


def _problems(cfg: Config) -> list[str]:
    """Why a config cannot be inherited from."""
    problems = []
    if pruner_of(cfg):
        problems.append(
            'it has a pruner already. Train it as it is, or give its own base'
        )
    wrapper = cfg.get('optim_wrapper') or {}
    if not wrapper.get('optimizer'):
        problems.append(
            'its optim_wrapper has no `optimizer`. A network with several, '
            'such as a GAN, is not pruned; prune its generator with the '
            'config that trains that alone'
        )
    elif kind({'type': wrapper.get('type', 'OptimWrapper')}) not in WRAPPERS:
        problems.append(
            f'its optim_wrapper is {wrapper["type"]}, but pruning takes the '
            f'place of {" and ".join(WRAPPERS)} only'
        )
    if _unit(cfg.get('train_cfg')) is None:
        problems.append(
            'its train_cfg has neither max_epochs nor max_iters as a number. '
            'Give a config that trains'
        )
    if not cfg.get('train_dataloader'):
        problems.append('it has no train_dataloader')
    return problems


def _imports(cfg: Config) -> Optional[list[str]]:
    found = (cfg.get('custom_imports') or {}).get('imports') or []
    found = [found] if isinstance(found, str) else list(found)
    return ['mmdhp', *found] if needs_compat(cfg) else None


def _frozen(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """What keeps the weights of a backbone from being generated."""
    changes: dict[str, Any] = {}
    if backbone.get('frozen_stages', -1) >= 0:
        changes['frozen_stages'] = -1
    if backbone.get('norm_eval'):
        changes['norm_eval'] = False
    init = backbone.get('init_cfg')
    if isinstance(init, Mapping) and kind(init).startswith('Pretrained'):
        changes['init_cfg'] = None
    return changes


def _best(cfg: Config) -> Optional[str]:
    """Validation metric by which the best checkpoint is told.

    Only where the base has a checkpoint hook that names none.
    """
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if cfg.get('val_cfg') is None or not checkpoint.get('type'):
        return None
    if checkpoint.get('save_best'):
        return None
    evaluators = cfg.get('val_evaluator') or []
    if isinstance(evaluators, Mapping):
        evaluators = evaluators.get('metrics') or [evaluators]
    for evaluator in evaluators:
        name = metric_name(evaluator) if evaluator else None
        if name:
            return name
    return None


def metric_name(evaluator: Any) -> Optional[str]:
    """Name under which the main figure of an evaluator is logged.

    Args:
        evaluator (Mapping): Its config.

    Returns:
        str | None: None if it is not known; larger values are better.

    Examples:
        >>> metric_name({'type': 'Accuracy', 'topk': (1, 5)})
        'accuracy/top1'
        >>> metric_name({'type': 'PSNR', 'prefix': 'Set5'})
        'Set5/PSNR'
    """
    if not isinstance(evaluator, Mapping):
        return None
    prefix = evaluator.get('prefix')
    if kind(evaluator) == 'Accuracy' and not evaluator.get('thrs'):
        topk = evaluator.get('topk', 1)
        first = topk[0] if isinstance(topk, (list, tuple)) else topk
        return f'{prefix or "accuracy"}/top{first}'
    if kind(evaluator) == 'PSNR':
        return f'{prefix}/PSNR' if prefix else 'PSNR'
    if kind(evaluator) == 'CocoMetric':
        metric = evaluator.get('metric', 'bbox')
        first = metric[0] if isinstance(metric, (list, tuple)) else metric
        known = first in ('bbox', 'segm')
        return f'{prefix or "coco"}/{first}_mAP' if known else None
    if kind(evaluator) == 'VOCMetric':
        return f'{prefix or "pascal_voc"}/mAP'
    return None
