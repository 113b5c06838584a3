_base_ = 'mmpretrain::regnet/regnetx-4.0gf_8xb64_in1k.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP', target=dict(macs=0.5), input_shape=(3, 224, 224)
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
