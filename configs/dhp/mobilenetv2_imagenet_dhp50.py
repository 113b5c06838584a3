_base_ = 'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP', target=dict(macs=0.5), input_shape=(3, 224, 224)
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
