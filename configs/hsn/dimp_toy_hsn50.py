# The small tracker on generated videos, pruned after it has learned to track.
_base_ = '../tracking/dimp_toy.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.HSN',
        target=dict(macs=0.5),
        input_shape=(3, 128, 128),
        regularization=2.0,
    ),
)
custom_hooks = [
    dict(type='mmdhp.PruningHook', interval=50, search=dict(max_iters=300))
]
# Trained by configs/tracking/dimp_toy.py.
load_from = 'work_dirs/dimp_toy/iter_300.pth'
