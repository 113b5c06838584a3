_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    optimizer=dict(lr=0.01),
    pruner=dict(
        type='mmdhp.OneShot', target=dict(macs=0.5), input_shape=(3, 224, 224)
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
load_from = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'  # noqa: E501
