_base_ = './tiny_imagenet_220e.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP',
        target=dict(macs=0.5),
        input_shape=(3, 64, 64),
        stop_limit=0.02,
        min_channels=4,
    ),
)
custom_hooks = [
    dict(
        type='mmdhp.PruningHook',
        interval=100,
        search=dict(
            max_epochs=100,  # at most; it ends when the target is reached
            param_scheduler=dict(
                type='MultiStepLR',
                by_epoch=True,
                milestones=[50, 70],
                gamma=0.1,
            ),
        ),
    )
]
