# Uniformly smaller widths, trained from scratch: what pruning has to beat.
_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/cifar10_bs64.py',
    '../_base_/schedules/cifar_300e.py',
    'mmpretrain::_base_/default_runtime.py',
]

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.OneShot',
        target=dict(macs=0.5),
        input_shape=(3, 32, 32),
        criterion='random',
        weights='new',
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
