# An epoch of the paper is 10000 batches.
iters_per_epoch = 10000

optim_wrapper = dict(
    constructor='DefaultOptimWrapperConstructor',
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.999)),
)
param_scheduler = dict(
    type='MultiStepLR',
    by_epoch=False,
    milestones=[40 * iters_per_epoch],
    gamma=0.1,
)

train_cfg = dict(
    type='IterBasedTrainLoop',
    max_iters=60 * iters_per_epoch,
    val_interval=iters_per_epoch,
)
