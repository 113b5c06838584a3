# A small SRResNet on a few photographs: the whole pipeline in minutes.
_base_ = '../srresnet/srresnet_x4_sample.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP',
        target=dict(macs=0.4),
        input_shape=(3, 24, 24),
        divisor=16,  # the block of channels that CPUs compute at once
    ),
)
custom_hooks = [
    dict(type='mmdhp.PruningHook', interval=50, search=dict(max_iters=600))
]
