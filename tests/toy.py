"""A complete run in seconds: a network, data, a metric and their config."""

import functools
import itertools
import json
import tempfile
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

CLASSES = 5
SHAPE = (3, 9, 11)
SEARCH, FINE_TUNE = 12, 8  # iterations; four of them are an epoch
_NUMBER = itertools.count()
_FOLDERS = []


@MODELS.register_module(force=True)
class ToyNet(BaseModel):
    """A stem, one residual block, a pooled classifier; sizes all differ."""

    def __init__(
        self, width=12, depth=1, data_preprocessor=None, init_cfg=None
    ):
        super().__init__(data_preprocessor, init_cfg)
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    'first': nn.Conv2d(width, 20, (3, 1), padding=(1, 0)),
                    'second': nn.Conv2d(20, width, 1),
                }
            )
            for _ in range(depth)
        )
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        x = self.norm(self.stem(inputs)).relu()
        for block in self.blocks:
            x = x + block['second'](block['first'](x).relu())
        scores = self.fc(x.mean((2, 3)))
        if mode == 'loss':
            loss = nn.functional.cross_entropy(scores.float(), data_samples)
            return {'loss': loss}
        if mode == 'predict':
            return list(zip(scores, data_samples))
        return scores


@MODELS.register_module(force=True)
class FixedNet(BaseModel):
    """Has one layer, whose outputs are the model's: nothing to prune."""

    def __init__(self):
        super().__init__()
        self.only = nn.Conv2d(3, CLASSES, 3)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        scores = self.only(inputs).mean((2, 3))
        if mode == 'loss':
            loss = nn.functional.cross_entropy(scores, data_samples)
            return {'loss': loss}
        return scores


@DATASETS.register_module(force=True)
class ToyData(Dataset):
    """Gaussian images with random augmentation and learnable labels."""

    metainfo = {'classes': [f'class {i}' for i in range(CLASSES)]}

    def __init__(self, size=16, augment=True):
        draw = torch.Generator().manual_seed(0)
        self.images = torch.randn(size, *SHAPE, generator=draw)
        self.labels = torch.arange(size) % CLASSES
        self.images[:, 0] += self.labels[:, None, None]
        self.augment = augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        if self.augment:
            image = image + 0.1 * torch.randn(SHAPE)
        return {'inputs': image, 'data_samples': self.labels[index]}


@METRICS.register_module(force=True)
class ToyLoss(BaseMetric):
    """Mean score of the right class: continuous, unlike an accuracy."""

    def process(self, data_batch, data_samples):
        self.results += [float(s[t]) for s, t in data_samples]

    def compute_metrics(self, results):
        return {'score': sum(results) / len(results)}


class InterruptedRunError(Exception):
    """What a killed run looks like from inside."""


@HOOKS.register_module(force=True)
class Interrupt(Hook):
    """Stops a run before an iteration."""

    priority = 'LOWEST'

    def __init__(self, at):
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at:
            raise InterruptedRunError


@HOOKS.register_module(force=True)
class Watch(Hook):
    """Records what a run does: losses, learning rates, the model itself."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.losses, self.rates, self.classes = [], [], []
        self.identities = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        self.rates.append([round(g['lr'], 9) for g in groups])

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ):
        model = getattr(runner.model, 'module', runner.model)
        self.losses.append(float(outputs['loss']))
        self.classes.append(type(model).__name__)
        self.identities.append({n: id(p) for n, p in model.named_parameters()})


@HOOKS.register_module(force=True)
class SaveRank(Hook):
    """Writes what each process ends with."""

    def after_train(self, runner):
        found = {
            'weights': weights(runner),
            'keep': hook_of(runner, 'PruningHook').keep,
            'wrapped': type(runner.model).__name__,
        }
        torch.save(found, f'{runner.work_dir}/rank_{runner.rank}.pt')


@HOOKS.register_module(force=True)
class Diverge(Hook):
    """Changes the latents of one process behind an iteration."""

    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner, batch_idx, **kwargs):
        if runner.rank == 1 and runner.iter == self.at:
            runner.optim_wrapper.pruner.latent.mul_(0.0)


def new_name():
    """A name for a run; by default they go by the second, and share logs."""
    return f'toy_{next(_NUMBER)}'


def loader(training, by_epoch=False, **dataset):
    """Config of a data loader."""
    kind = 'InfiniteSampler' if training and not by_epoch else 'DefaultSampler'
    return {
        'batch_size': 4 if training else 7,
        'num_workers': 0,
        'collate_fn': {'type': 'default_collate'},
        'sampler': {'type': kind, 'shuffle': training},
        'dataset': {'type': 'ToyData', 'augment': training, **dataset},
    }


def pruner(**changes):
    """Config of the method."""
    return {
        'type': 'mmdhp.DHP',
        'target': {'macs': 0.5},
        'input_shape': SHAPE,
        'min_channels': 2,
        'regularization': 1e-3,  # never reaches the target by itself
        **changes,
    }


def lwdna(**changes):
    """Changes of a config: a widened model, and the method for it."""
    method = {'type': 'mmdhp.LWDNA', 'target': {'macs': 0.5}, **changes}
    widened = {
        'type': 'mmdhp.Widened',
        'architecture': {'type': 'ToyNet'},
        'input_shape': SHAPE,
    }
    return {
        'model': widened,
        'optim': {'pruner': {'input_shape': SHAPE, **method}},
    }


def hsn(**changes):
    """Changes of a config: trained weights, and the method for them."""
    method = {'type': 'mmdhp.HSN', 'target': {'macs': 0.5}, **changes}
    return {
        'load_from': checkpoint(),
        'optim': {
            'pruner': {'input_shape': SHAPE, 'min_channels': 2, **method}
        },
    }


def oneshot(**changes):
    """Changes of a config: trained weights, and a cut without a search."""
    method = {'type': 'mmdhp.OneShot', 'target': {'macs': 0.5}, **changes}
    return {
        'load_from': checkpoint(),
        'hook': {'search': None},
        'optim': {
            'pruner': {'input_shape': SHAPE, 'min_channels': 2, **method}
        },
    }


@functools.cache
def checkpoint():
    """Path of a trained network, the same for all tests."""
    folder = tempfile.TemporaryDirectory()
    _FOLDERS.append(folder)  # lives as long as the tests
    cfg = config(folder.name, custom_hooks=[])
    cfg.optim_wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.05}}
    cfg.train_cfg.val_interval = 100
    train(cfg)
    return f'{folder.name}/iter_{FINE_TUNE}.pth'


def config(work_dir, by_epoch=False, hook=(), optim=(), **changes):
    """Config of a whole run.

    Args:
        work_dir (Path): Where it writes.
        by_epoch (bool): Whether it counts epochs.
        hook (dict): Further arguments of the pruning hook.
        optim (dict): Further keys of the optimizer wrapper.
        **changes: Further keys of the config.
    """
    search = {'max_iters': SEARCH}
    train = {
        'type': 'IterBasedTrainLoop',
        'max_iters': FINE_TUNE,
        'val_interval': 6,
    }
    if by_epoch:
        search = {'max_epochs': SEARCH // 4}
        train = {'by_epoch': True, 'max_epochs': FINE_TUNE // 4}
    test = loader(training=False)
    return Config(
        {
            'model': {'type': 'ToyNet'},
            'train_dataloader': loader(training=True, by_epoch=by_epoch),
            'train_cfg': train,
            'val_dataloader': test,
            'val_evaluator': {'type': 'ToyLoss'},
            'val_cfg': {},
            'test_dataloader': test,
            'test_evaluator': {'type': 'ToyLoss'},
            'test_cfg': {},
            'optim_wrapper': {
                'type': 'mmdhp.PruningOptimWrapper',
                'constructor': 'mmdhp.PruningOptimWrapperConstructor',
                'optimizer': {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9},
                'pruner': pruner(),
                **dict(optim),
            },
            'param_scheduler': {
                'type': 'MultiStepLR',
                'by_epoch': by_epoch,
                'milestones': [1 if by_epoch else 5],
                'gamma': 0.1,
            },
            'custom_hooks': [
                {
                    'type': 'mmdhp.PruningHook',
                    'interval': 5,
                    'search': search,
                    **dict(hook),
                },
                {'type': 'Watch'},
            ],
            'default_hooks': {
                'checkpoint': {
                    'type': 'CheckpointHook',
                    'interval': 1 if by_epoch else 3,
                    'by_epoch': by_epoch,
                },
                'logger': {'type': 'LoggerHook', 'interval': 5},
            },
            'work_dir': str(work_dir),
            'randomness': {'seed': 3},
            'default_scope': 'mmengine',
            'log_level': 'ERROR',
            'experiment_name': new_name(),
            **changes,
        }
    )


def train(cfg):
    """Run a config; return the Runner."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def hook_of(runner, name):
    """The Runner's hook with a class name."""
    return next(h for h in runner.hooks if type(h).__name__ == name)


def weights(runner):
    """The state dict of a Runner's model, without DDP around it."""
    return getattr(runner.model, 'module', runner.model).state_dict()


def same(first, second):
    """Whether two state dicts are bit-equal."""
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


def channels(work_dir):
    """The exported ``channels.json`` of a run."""
    return json.loads((Path(work_dir) / 'pruned/channels.json').read_text())
