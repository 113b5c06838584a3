"""A teacher's opinion in the losses, without a trace in the model."""

import copy
import math

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.nn import functional as F
from toy import (
    CLASSES,
    FINE_TUNE,
    SEARCH,
    ToyNet,
    channels,
    config,
    hook_of,
    train,
    weights,
)

from mmdhp.engine import DistillationHook
from mmdhp.engine.distillation_hook import CRITERIA, kl_divergence


@pytest.fixture
def teacher(tmp_path):
    """A wider network of the same kind."""
    torch.manual_seed(7)
    path = tmp_path / 'teacher.pth'
    torch.save({'state_dict': ToyNet(width=14).state_dict()}, path)
    return {
        'config': {'model': {'type': 'ToyNet', 'width': 14}},
        'checkpoint': str(path),
    }


@HOOKS.register_module(force=True)
class Losses(Hook):
    """Records every loss of every iteration, and what a model carries."""

    def before_train(self, runner):
        self.seen, self.carried = [], []

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ):
        self.seen.append({k: float(v) for k, v in outputs.items()})
        twin = copy.deepcopy(runner.model)  # as averaging hooks do
        self.carried.append(len(twin._forward_hooks))


def distilled(work_dir, teacher, **options):
    cfg = config(work_dir)
    cfg.custom_hooks += [
        {
            'type': 'mmdhp.DistillationHook',
            'teacher': teacher,
            'module': 'fc',
            **options,
        },
        {'type': 'Losses', 'priority': 'VERY_LOW'},
    ]
    return cfg


def test_divergence_is_that_of_a_loop():
    student, teacher = torch.randn(3, 4), torch.randn(3, 4)
    total = 0.0
    for s, t in zip((student / 5).softmax(1), (teacher / 5).softmax(1)):
        for q, p in zip(s, t):
            total += float(p * (p / q).log()) * 25 / 3
    assert float(kl_divergence(student, teacher, 5)) == pytest.approx(
        total, rel=1e-4
    )
    assert float(kl_divergence(student, student, 5)) == pytest.approx(0.0)


@pytest.mark.parametrize('stage', ['fine_tune', 'all'])
def test_a_run_with_a_teacher(tmp_path, teacher, stage):
    runner = train(distilled(tmp_path, teacher, stage=stage))
    record = hook_of(runner, 'Losses')
    heard = ['loss_distillation' in losses for losses in record.seen]
    assert heard == [stage == 'all'] * SEARCH + [True] * FINE_TUNE
    assert all(math.isfinite(losses['loss']) for losses in record.seen)
    assert not any(record.carried)
    keys = ToyNet().state_dict().keys()
    assert weights(runner).keys() == keys
    assert channels(tmp_path)['macs']['ratio'] <= 0.5
    exported = (tmp_path / 'pruned/pruned_config.py').read_text()
    assert 'Distillation' not in exported


@pytest.mark.parametrize('criterion', CRITERIA)
def test_losses_are_mixed(tmp_path, teacher, criterion):
    cfg = distilled(tmp_path, teacher, criterion=criterion, weight=0.3)
    cfg.custom_hooks.pop(0)
    cfg.optim_wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.0}}
    runner = Runner.from_cfg(cfg)
    hook = hook_of(runner, 'DistillationHook')
    hook.before_train(runner)
    model = runner.model
    inputs, labels = torch.randn(4, 3, 9, 11), torch.arange(4) % CLASSES
    plain = model(inputs, labels, mode='loss')
    logits = model(inputs), hook.teacher(inputs)
    expected = CRITERIA[criterion](*logits, 4.0)

    hook.before_train_iter(runner, 0)
    mixed = model(inputs, labels, mode='loss')
    hook.after_train_iter(runner, 0)

    torch.testing.assert_close(mixed['loss'], plain['loss'] * 0.7)
    torch.testing.assert_close(mixed['loss_distillation'], expected * 0.3)
    assert model(inputs, labels, mode='loss').keys() == plain.keys()
    assert all(p.grad is None for p in hook.teacher.parameters())


def test_it_works_without_pruning(tmp_path, teacher):
    cfg = distilled(tmp_path, teacher)
    del cfg.custom_hooks[0]
    cfg.optim_wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.05}}
    record = hook_of(train(cfg), 'Losses')
    assert all('loss_distillation' in losses for losses in record.seen)


def test_a_classifier_of_mmpretrain(tmp_path):
    pytest.importorskip('mmpretrain')
    from mmpretrain.structures import DataSample

    model = {
        'type': 'ImageClassifier',
        'backbone': {'type': 'mmdhp.CIFARResNet', 'depth': 20},
        'neck': {'type': 'GlobalAveragePooling'},
        'head': {
            'type': 'LinearClsHead',
            'num_classes': CLASSES,
            'in_channels': 64,
            'topk': (1,),
        },
    }
    cfg = config(tmp_path, model=model, default_scope='mmpretrain')
    cfg.train_dataloader.dataset.type = 'mmengine.ToyData'
    runner = Runner.from_cfg(cfg)
    path = tmp_path / 'teacher.pth'
    torch.save({'state_dict': runner.model.state_dict()}, path)
    hook = DistillationHook(
        {
            'config': {'model': model, 'default_scope': 'mmpretrain'},
            'checkpoint': str(path),
        },
        stage='all',
    )
    hook.before_train(runner)
    samples = [DataSample().set_gt_label(i % CLASSES) for i in range(4)]
    inputs = torch.randn(4, 3, 32, 32)
    runner.model.eval()
    hook.before_train_iter(runner, 0)
    losses = runner.model(inputs, samples, mode='loss')
    hook.after_train_iter(runner, 0)
    assert float(losses['loss_distillation']) == pytest.approx(0, abs=1e-5)
    plain = F.cross_entropy(runner.model(inputs), torch.tensor([0, 1, 2, 3]))
    torch.testing.assert_close(losses['loss'], plain * 0.6)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'teacher': {'config': 'a.py'}}, TypeError, "needs 'config' and"),
        ({'teacher': {'cfg': 'a.py'}}, TypeError, "'cfg' .did you mean"),
        ({'criterion': 'ce'}, ValueError, "criterion is 'ce'; there are"),
        ({'stage': 'search'}, ValueError, "stage is 'search'"),
        ({'weight': 0}, ValueError, 'weight is 0'),
        ({'temperature': -1.0}, ValueError, r'temperature is -1\.0'),
    ],
)
def test_arguments(options, error, message):
    options = {'teacher': {'config': 'a', 'checkpoint': 'b'}, **options}
    with pytest.raises(error, match=message):
        DistillationHook(**options)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'module': 'head.fc'}, KeyError, r"model has no 'head\.fc'"),
        ({'teacher_module': 'fcc'}, KeyError, "teacher has no 'fcc'.*'fc'"),
        ({'teacher_module': 'norm'}, ValueError, r'fc gives \(4, 5\), but'),
    ],
)
def test_modules_that_do_not_fit(tmp_path, teacher, change, error, message):
    with pytest.raises(error, match=message):
        train(distilled(tmp_path, teacher, **change))


def test_a_teacher_that_is_not_there(tmp_path, teacher):
    teacher['checkpoint'] = str(tmp_path / 'lost.pth')
    with pytest.raises(FileNotFoundError, match='lost.pth, does not exist'):
        train(distilled(tmp_path, teacher))


def test_a_teacher_of_other_inputs(tmp_path, teacher):
    teacher['config']['model']['data_preprocessor'] = {
        'type': 'ImgDataPreprocessor',
        'mean': [1.0, 2.0, 3.0],
        'std': [1.0, 1.0, 1.0],
    }
    with pytest.raises(ValueError, match=r'mean .* is None, but .* \[1\.0'):
        train(distilled(tmp_path, teacher))
