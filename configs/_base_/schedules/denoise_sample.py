# Minutes on two CPU cores; enough to compare runs with each other.
max_iters = 2000

optim_wrapper = dict(
    constructor='DefaultOptimWrapperConstructor',
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.999)),
)
param_scheduler = dict(
    type='MultiStepLR',
    by_epoch=False,
    milestones=[max_iters * 2 // 3],
    gamma=0.1,
)

train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=500
)
