_base_ = '../edsr/edsr_x4_baseline.py'

iters_per_epoch = 2013

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.HSN',
        target=dict(macs=0.4),
        input_shape=(3, 64, 64),
        # An L1 loss of images is about a hundredth of a cross-entropy.
        regularization=0.1,
    ),
)
custom_hooks = [
    dict(type='mmdhp.PruningHook', search=dict(max_iters=20 * iters_per_epoch))
]
param_scheduler = dict(milestones=[60 * iters_per_epoch])
train_cfg = dict(max_iters=100 * iters_per_epoch)
# Trained by configs/edsr/edsr_x4_baseline.py.
load_from = 'work_dirs/edsr_x4_baseline/iter_603900.pth'
