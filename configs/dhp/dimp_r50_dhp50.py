# The whole tracker, pruned while it learns to track. For a backbone that was
# pruned on ImageNet see docs/tracking.md.
_base_ = '../tracking/dimp_r50.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP', target=dict(macs=0.5), input_shape=(3, 288, 288)
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
