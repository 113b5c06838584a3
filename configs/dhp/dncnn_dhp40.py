# The paper's DnCNN at 40 % of its MACs: Li et al., ECCV 2020.
_base_ = '../dncnn/dncnn_sigma70_baseline.py'

iters_per_epoch = 10000

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP',
        target=dict(macs=0.4),
        input_shape=(1, 128, 128),
        regularization=0.1,
        threshold=5e-3,
        stop_limit=0.02,
        min_channels=4,
        kinds=('weight', 'norm', 'act'),
    ),
)
custom_hooks = [
    dict(
        type='mmdhp.PruningHook',
        interval=100,
        search=dict(
            max_iters=60 * iters_per_epoch,
            param_scheduler=dict(
                type='StepLR',
                by_epoch=False,
                step_size=10 * iters_per_epoch,
                gamma=0.1,
            ),
        ),
    )
]
