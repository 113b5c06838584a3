_base_ = '../unet/unet_sigma70_baseline.py'

iters_per_epoch = 10000

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.HSN',
        target=dict(macs=0.4),
        input_shape=(1, 128, 128),
        # An L1 loss of images is about a hundredth of a cross-entropy.
        regularization=0.1,
    ),
)
custom_hooks = [
    dict(type='mmdhp.PruningHook', search=dict(max_iters=2 * iters_per_epoch))
]
param_scheduler = dict(milestones=[20 * iters_per_epoch])
train_cfg = dict(max_iters=30 * iters_per_epoch)
# Trained by configs/unet/unet_sigma70_baseline.py.
load_from = 'work_dirs/unet_sigma70_baseline/iter_600000.pth'
