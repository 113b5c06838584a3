"""Knowledge distillation from a teacher, beside an untouched model."""

import os.path as osp
from collections.abc import Callable
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner, load_checkpoint
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from mmdhp.checkpoints.checkpoint_file import read_checkpoint
from mmdhp.methods.options import (
    accepted,
    check_choices,
    check_dict,
    check_number,
    unknown_keys,
)
from mmdhp.registry import HOOKS
from mmdhp.stages.runner_facts import unwrapped

from .pruning_hook import PruningHook

STAGES = ('fine_tune', 'all')
_TINY = 1e-6


def kl_divergence(student: Tensor, teacher: Tensor, heat: float) -> Tensor:
    """Divergence of softened class probabilities.

    ``T² · KL(softmax(teacher / T) ‖ softmax(student / T))``, summed over
    classes, averaged over samples.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network,
    arXiv:1503.02531.

    Args:
        student (Tensor): Logits, shape ``(n, classes)``.
        teacher (Tensor): Logits, shape ``(n, classes)``.
        heat (float): Temperature T.
    """
    return heat**2 * F.kl_div(
        F.log_softmax(student.float() / heat, dim=1),
        F.log_softmax(teacher.float() / heat, dim=1),
        reduction='batchmean',
        log_target=True,
    )


Criterion = Callable[[Tensor, Tensor, float], Tensor]

CRITERIA: dict[str, Criterion] = {
    'kl': kl_divergence,
    'l1': lambda student, teacher, _: F.l1_loss(student, teacher),
    'l2': lambda student, teacher, _: F.mse_loss(student, teacher),
}


@HOOKS.register_module()
class DistillationHook(Hook):
    """Adds a teacher's opinion to the losses of any model.

    The outputs of one module are compared with those of the teacher's, call by
    call, on the same preprocessed inputs. The model is not wrapped: its keys,
    checkpoints and validation are what they are without the hook, and the
    teacher is in none of them. The total loss is ``weight · distillation +
    (1 - weight) · the model's own losses``.

    Args:
        teacher (dict): ``config`` (path, or ``package::path``, or a dict with
            ``model``) and ``checkpoint`` (path or URL).
        module (str): Dotted name of the module whose outputs are compared.
            Defaults to ``'head.fc'``, the logits of MMPretrain's classifiers;
            ``'generator'`` are the images of MMagic's restorers,
            ``'cls_head.feat_conv'`` the features of a DiMP tracker.
        teacher_module (str, optional): Its name in the teacher. Defaults to
            ``module``.
        criterion (str): ``'kl'`` for logits, ``'l1'`` or ``'l2'``. Defaults
            to ``'kl'``.
        temperature (float): Of ``'kl'``. Defaults to 4.
        weight (float): Share of the distillation in the loss, in (0, 1].
            Defaults to 0.4.
        stage (str): ``'fine_tune'``: behind the pruning; ``'all'``: in the
            search, too. Without a :class:`PruningHook` it is always on.
            Defaults to ``'fine_tune'``.
        **unknown: Refused, with the name of the nearest argument.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        teacher: dict,
        module: str = 'head.fc',
        teacher_module: Optional[str] = None,
        criterion: str = 'kl',
        temperature: float = 4.0,
        weight: float = 0.4,
        stage: str = 'fine_tune',
        **unknown: Any,
    ) -> None:
        problem = unknown_keys(
            'DistillationHook', unknown, accepted(type(self))
        )
        if problem:
            raise TypeError(problem)
        _check_teacher(teacher)
        _check_name('module', module)
        if teacher_module is not None:
            _check_name('teacher_module', teacher_module)
        check_choices(
            {'criterion': criterion, 'stage': stage},
            {'criterion': tuple(CRITERIA), 'stage': STAGES},
            'DistillationHook: ',
        )
        check_number('DistillationHook: weight', weight, _TINY, 1)
        check_number('DistillationHook: temperature', temperature, _TINY)
        self.teacher_cfg = dict(teacher)
        self.module = module
        self.teacher_module = teacher_module or module
        self.criterion = criterion
        self.temperature = temperature
        self.weight = weight
        self.stage = stage
        self._handles: list[RemovableHandle] = []

    def before_train(self, runner: Runner) -> None:
        """Find the student's module and build the teacher.

        Raises:
            KeyError: If there is no such module.
            FileNotFoundError: If the checkpoint does not exist.
            ValueError: If the teacher sees other preprocessed inputs.
        """
        student = unwrapped(runner)
        self._find(student, self.module, 'model')
        self.teacher = build_teacher(**self.teacher_cfg)
        self._find(self.teacher, self.teacher_module, 'teacher')
        check_same_preprocessing(student, self.teacher)
        self.teacher.to(next(student.parameters()).device)

    def _find(self, model: nn.Module, name: str, owner: str) -> nn.Module:
        known = dict(model.named_modules())
        if name not in known:
            problem = unknown_keys(f'The {owner}', [name], list(known)[1:])
            raise KeyError(f'DistillationHook: {problem}')
        return known[name]

    def _active(self, runner: Runner) -> bool:
        states = [h.state for h in runner.hooks if isinstance(h, PruningHook)]
        return self.stage == 'all' or 'search' not in states

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Listen to the model during this iteration."""
        if not self._active(runner):
            return
        student = unwrapped(runner)
        self._heard: dict[str, list[Tensor]] = {}
        self._handles = [
            student.register_forward_pre_hook(self._forget),
            self._find(student, self.module, 'model').register_forward_hook(
                self._hear('student')
            ),
            self._find(
                self.teacher, self.teacher_module, 'teacher'
            ).register_forward_hook(self._hear('teacher')),
            student.register_forward_hook(self._add_loss, with_kwargs=True),
        ]

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Leave no trace in the model, which others copy and store."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._heard = [], {}

    def _forget(self, student: nn.Module, args: tuple) -> None:
        self._heard = {'student': [], 'teacher': []}

    def _hear(self, who: str) -> Callable:
        def listen(module: nn.Module, args: Any, output: Any) -> None:
            self._heard[who].append(_tensor(output))

        return listen

    def _add_loss(
        self, student: nn.Module, args: tuple, kwargs: dict, losses: Any
    ) -> Any:
        if kwargs.get('mode') != 'loss':
            return losses
        inputs = kwargs['inputs'] if 'inputs' in kwargs else args[0]
        with torch.no_grad():
            self.teacher(inputs, mode='tensor')
        own, its = self._heard['student'], self._heard['teacher']
        shapes = [[tuple(x.shape) for x in outputs] for outputs in (own, its)]
        if shapes[0] != shapes[1] or not own:
            found, expected = (
                ' and '.join(map(str, pairs)) or 'nothing' for pairs in shapes
            )
            raise ValueError(
                f'DistillationHook: {self.module} gives {found}, but '
                f'{self.teacher_module} of the teacher gives {expected}.'
            )
        criterion = CRITERIA[self.criterion]
        parts = [criterion(*pair, self.temperature) for pair in zip(own, its)]
        distilled = sum(parts) / len(parts)
        return {
            **_scaled(losses, 1 - self.weight),
            'loss_distillation': self.weight * distilled,
        }


def _check_teacher(teacher: Any) -> None:
    example = "dict(config='teacher.py', checkpoint='teacher.pth')"
    check_dict('DistillationHook: teacher', teacher, example)
    needed = ('config', 'checkpoint')
    problem = unknown_keys('DistillationHook: teacher', teacher, needed)
    if problem:
        raise TypeError(problem)
    if not set(needed) <= teacher.keys():
        raise TypeError(
            f'DistillationHook: teacher is {dict(teacher)}, but it needs '
            f"'config' and 'checkpoint', as in {example}."
        )
    config, checkpoint = (teacher[key] for key in needed)
    if not isinstance(config, dict):
        _check_name('teacher.config', config)
    elif not isinstance(config.get('model'), dict):
        raise TypeError(
            'DistillationHook: teacher.config is a dict without `model`, the '
            'config of the network.'
        )
    _check_name('teacher.checkpoint', checkpoint)


def _check_name(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise TypeError(
            f'DistillationHook: {name} is {value!r}, but a text is needed.'
        )


def _tensor(output: Any) -> Tensor:
    return output[-1] if isinstance(output, (tuple, list)) else output


def _scaled(losses: dict[str, Any], factor: float) -> dict[str, Any]:
    """What MMEngine adds up, scaled; other numbers as they are."""
    return {
        name: value
        if 'loss' not in name
        else value * factor
        if isinstance(value, Tensor)
        else [part * factor for part in value]
        for name, value in losses.items()
    }


def build_teacher(config: Any, checkpoint: str) -> nn.Module:
    """Build a network, load its weights, freeze it in eval mode.

    Args:
        config (str | dict): Path of a config, or its content.
        checkpoint (str): Path or URL.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If it cannot be read.
        RuntimeError: If it does not fit.
    """
    if '://' not in checkpoint:
        if not osp.exists(checkpoint):
            raise FileNotFoundError(
                'DistillationHook: the checkpoint of the teacher, '
                f'{checkpoint}, does not exist. Train the teacher first, or '
                'correct the path.'
            )
        read_checkpoint(checkpoint)
    cfg = Config(config) if isinstance(config, dict) else None
    cfg = cfg or Config.fromfile(config)
    scope = cfg.get('default_scope') or 'mmengine'
    model_cfg = dict(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(scope):
        teacher = MODELS.build(model_cfg)
    load_checkpoint(teacher, checkpoint, map_location='cpu', strict=True)
    return teacher.requires_grad_(False).eval()


def check_same_preprocessing(student: Any, teacher: Any) -> None:
    """Refuse a teacher that was trained on inputs of another scale.

    Raises:
        ValueError: If mean or std differ.
    """
    for name in ('mean', 'std'):
        pair = [
            getattr(getattr(m, 'data_preprocessor', None), name, None)
            for m in (student, teacher)
        ]
        values = [None if v is None else v.flatten().tolist() for v in pair]
        if values[0] != values[1]:
            raise ValueError(
                f'DistillationHook: the {name} of the data preprocessor is '
                f'{values[0]}, but that of the teacher is {values[1]}; it '
                'would see other images than it was trained on.'
            )
