_base_ = 'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    optimizer=dict(lr=0.01),
    pruner=dict(
        type='mmdhp.HSN',
        target=dict(macs=0.64),
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
# The paper's fine-tuning is shorter than the training.
param_scheduler = dict(
    _delete_=True,
    type='MultiStepLR',
    by_epoch=True,
    milestones=[30, 60, 90],
    gamma=0.1,
)
train_cfg = dict(max_epochs=100, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
load_from = 'https://download.openmmlab.com/mmclassification/v0/mobilenet_v2/mobilenet_v2_batch256_imagenet_20200708-3b2dc3af.pth'  # noqa: E501
