# Each part has a rate of its own: the filter's iterations become unstable at
# high ones.
optim_wrapper = dict(
    constructor='DefaultOptimWrapperConstructor',
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=2e-4),
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.1),
            'cls_head.feat_conv': dict(lr_mult=0.25),
            'cls_head.filter_initializer': dict(lr_mult=0.25),
            'cls_head.filter_optimizer': dict(lr_mult=2.5),
        }
    ),
)
param_scheduler = dict(type='StepLR', by_epoch=True, step_size=15, gamma=0.2)

train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=50)
val_cfg = dict()
test_cfg = dict()

auto_scale_lr = dict(base_batch_size=10)
