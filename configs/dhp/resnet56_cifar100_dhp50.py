_base_ = [
    '../_base_/models/resnet56_cifar.py',
    '../_base_/datasets/cifar100_bs64.py',
    '../_base_/schedules/cifar_300e_dhp.py',
    'mmpretrain::_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(
    pruner=dict(
        target=dict(macs=0.5),
        regularization=3e-4,
        stop_limit=0.01,
        # The paper leaves the last stage's output channels alone.
        exclude=['backbone.stages.2.0.shortcut'],
    )
)
custom_hooks = [
    dict(
        type='mmdhp.PruningHook',
        interval=100,
        search=dict(
            max_epochs=100,
            param_scheduler=dict(
                type='MultiStepLR',
                by_epoch=True,
                milestones=[20, 50],
                gamma=0.1,
            ),
        ),
    )
]
