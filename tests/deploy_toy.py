"""Pruned folders of small models of each kind, as runs write them."""

from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from toy import config, hook_of

from mmdhp import compat

compat.install()

CLASSIFIER = {
    'type': 'ImageClassifier',
    'backbone': {'type': 'mmdhp.CIFARResNet', 'depth': 8},
    'neck': {'type': 'GlobalAveragePooling'},
    'head': {
        'type': 'LinearClsHead',
        'num_classes': 5,
        'in_channels': 64,
        'loss': {'type': 'CrossEntropyLoss'},
    },
    'data_preprocessor': {
        'type': 'ClsDataPreprocessor',
        'mean': [120.0, 110.0, 100.0],
        'std': [60.0, 50.0, 40.0],
        'to_rgb': True,
    },
}
RESTORER = {
    'type': 'BaseEditModel',
    'generator': {
        'type': 'mmdhp.SRResNet',
        'mid_channels': 12,
        'num_blocks': 1,
    },
    'pixel_loss': {'type': 'L1Loss'},
    'data_preprocessor': {
        'type': 'DataPreprocessor',
        'mean': [90.0, 80.0, 70.0],
        'std': [255.0, 250.0, 245.0],
        'pad_size_divisor': 4,
    },
}


def prune(folder, model, scope, **changes):
    """Cut a model that nobody has trained; write its folder ``pruned``.

    Its test pipeline loads images as photographs are loaded.

    Returns:
        Runner: Its work folder is ``folder``.
    """
    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'PackInputs'}]
    runner = Runner.from_cfg(
        config(folder, model=model, default_scope=scope, **changes)
    )
    hook = hook_of(runner, 'PruningHook')
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook.before_run(runner)
    hook.before_train(runner)
    hook._transition(runner)
    runner.cfg.test_dataloader = {
        'dataset': {'type': 'Photographs', 'pipeline': pipeline}
    }
    hook.export_model(runner)
    DefaultScope._instance_dict.clear()
    return runner
