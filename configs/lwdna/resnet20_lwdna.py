# LW-DNA of ResNet-20 at the baseline's MACs: a quick study.
_base_ = '../resnet_cifar/resnet20_cifar10.py'

model = dict(
    _delete_=True,
    type='mmdhp.Widened',
    architecture=_base_.model,
    factor=2,
    input_shape=(3, 32, 32),
)
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.LWDNA',
        target=dict(macs=1.0),
        input_shape=(3, 32, 32),
        kinds=('weight', 'norm'),
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
