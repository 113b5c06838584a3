_base_ = './resnet56_dhp50.py'

optim_wrapper = dict(pruner=dict(target=dict(macs=0.38), stop_limit=0.02))
custom_hooks = [
    dict(
        type='mmdhp.PruningHook',
        interval=100,
        search=dict(
            max_epochs=100,
            param_scheduler=dict(
                type='MultiStepLR',
                by_epoch=True,
                milestones=[25, 50],
                gamma=0.1,
            ),
        ),
    )
]
