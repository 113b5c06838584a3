# The small tracker on ImageNet's features, pruned after it has learned to
# track. It is its own teacher: a few videos cannot teach what ImageNet did.
_base_ = '../tracking/dimp_lite0.py'

max_iters = 300

model = dict(freeze_backbone=False)
load_from = 'work_dirs/dimp_lite0/iter_700.pth'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.HSN',
        target=dict(macs=0.6),
        input_shape=(3, 256, 256),
        regularization=2.0,
    ),
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.3),
            'cls_head': dict(lr_mult=0.3),
        }
    ),
)
custom_hooks = [
    dict(type='mmdhp.PruningHook', interval=50, search=dict(max_iters=100)),
    dict(
        type='mmdhp.DistillationHook',
        teacher=dict(
            config='configs/tracking/dimp_lite0.py', checkpoint=load_from
        ),
        module='cls_head.feat_conv',
        criterion='l2',
        weight=0.2,
        stage='all',
    ),
]
param_scheduler = [
    dict(
        type='LinearLR',
        by_epoch=False,
        start_factor=0.05,
        end=max_iters // 10,
    ),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=max_iters // 10,
        end=max_iters,
        T_max=max_iters - max_iters // 10,
        eta_min_ratio=0.01,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
