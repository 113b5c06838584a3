_base_ = 'mmpretrain::resnet/resnet101_8xb32_in1k.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    optimizer=dict(lr=0.01),
    pruner=dict(
        type='mmdhp.HSN',
        target=dict(macs=0.42),
        input_shape=(3, 224, 224),
        regularization=8.0,
        gates='inner',
        scope='gated',
    ),
)
custom_hooks = [
    dict(
        type='mmdhp.PruningHook',
        search=dict(
            max_epochs=200,
            samples=10000,
            dataloader=dict(dataset=dict(pipeline=_base_.test_pipeline)),
        ),
    )
]
train_cfg = dict(val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
load_from = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet101_8xb32_in1k_20210831-539c63f8.pth'  # noqa: E501
