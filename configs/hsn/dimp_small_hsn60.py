# The small tracker for real videos, pruned after it has learned to track.
_base_ = '../tracking/dimp_small.py'

max_iters = 400

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.HSN',
        target=dict(macs=0.6),
        input_shape=(3, 160, 160),
        regularization=2.0,
    ),
)
custom_hooks = [
    dict(type='mmdhp.PruningHook', interval=50, search=dict(max_iters=150))
]
param_scheduler = [
    dict(
        type='LinearLR',
        by_epoch=False,
        start_factor=0.05,
        end=max_iters // 10,
    ),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=max_iters // 10,
        end=max_iters,
        T_max=max_iters - max_iters // 10,
        eta_min_ratio=0.01,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
# Trained by configs/tracking/dimp_small.py.
load_from = 'work_dirs/dimp_small/iter_1200.pth'
