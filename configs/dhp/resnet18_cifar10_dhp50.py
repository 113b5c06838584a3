_base_ = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP', target=dict(macs=0.5), input_shape=(3, 32, 32)
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
