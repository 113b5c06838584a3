# The whole tracker, pruned after it has learned to track: its backbone keeps
# what ImageNet taught it.
_base_ = '../tracking/dimp_r50.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.HSN',
        target=dict(macs=0.5),
        input_shape=(3, 288, 288),
        # The sum of DiMP's losses is about half of a cross-entropy.
        regularization=2.0,
    ),
)
custom_hooks = [
    dict(type='mmdhp.PruningHook', interval=100, search=dict(max_epochs=5))
]
param_scheduler = dict(step_size=8)
train_cfg = dict(max_epochs=25, val_interval=25)
# Trained by configs/tracking/dimp_r50.py.
load_from = 'work_dirs/dimp_r50/epoch_50.pth'
