# A shallow DnCNN on small images: the whole pipeline in minutes.
_base_ = '../dncnn/dncnn_sigma70_sample.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP',
        target=dict(macs=0.4),
        input_shape=(1, 40, 40),
        divisor=16,  # the block of channels that CPUs compute at once
    ),
)
custom_hooks = [
    dict(type='mmdhp.PruningHook', interval=50, search=dict(max_iters=800))
]
