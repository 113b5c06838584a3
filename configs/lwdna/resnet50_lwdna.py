# LW-DNA of ResNet-50: 90.6 % of the baseline's MACs, as in the paper.
_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'

model = dict(
    _delete_=True,
    type='mmdhp.Widened',
    architecture=_base_.model,
    factor=2,
    input_shape=(3, 224, 224),
)
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.LWDNA',
        target=dict(macs=0.906),
        input_shape=(3, 224, 224),
        min_channels=0.4,
        classifier_floor=0.45,
        embedding_dim=2,
        kinds=('weight', 'norm', 'act'),
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
