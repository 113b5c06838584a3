# The paper's EDSR at 40 % of its MACs: Li et al., ECCV 2020.
_base_ = '../edsr/edsr_x4_baseline.py'

iters_per_epoch = 2013

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP',
        target=dict(macs=0.4),
        input_shape=(3, 64, 64),
        regularization=0.1,
        threshold=5e-3,
        stop_limit=0.02,
        min_channels=4,
        # The paper's upsampler keeps the channels of the residual path.
        groups=[('generator.head', 'generator.upsampler.*')],
        # The three colours, between the mean shifts and the network.
        exclude=['generator.sub_mean', 'generator.tail'],
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
                step_size=40 * iters_per_epoch,
                gamma=0.1,
            ),
        ),
    )
]
