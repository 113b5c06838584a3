# A small tracker on generated videos: minutes on two CPU cores.
_base_ = [
    '../_base_/models/dimp_r50.py',
    '../_base_/datasets/toy_sot.py',
    '../_base_/tracking_runtime.py',
]

max_iters = 300
sigma = 0.5  # a quarter of the target's side, of 8 / 4 cells

model = dict(
    backbone=dict(depth=18, stem_channels=16, base_channels=16, init_cfg=None),
    cls_head=dict(
        out_dim=64,
        gauss_sigma=sigma,
        filter_optimizer=dict(gauss_sigma=sigma),
    ),
    bbox_head=dict(pred_in_dim=(64, 64), pred_inter_dim=(64, 64)),
    tracker=dict(
        img_sample_size=128,
        search_scale_factor=4.0,
        locate_cfg=dict(no_target_min_score=0.1),
    ),
)

optim_wrapper = dict(
    constructor='DefaultOptimWrapperConstructor',
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=3e-3),
    paramwise_cfg=dict(
        custom_keys={
            'cls_head.filter_initializer': dict(lr_mult=0.25),
            'cls_head.filter_optimizer': dict(lr_mult=2.5),
        }
    ),
)
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
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters
)
val_cfg = dict()
test_cfg = dict()

default_hooks = dict(
    checkpoint=dict(interval=max_iters, by_epoch=False),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
