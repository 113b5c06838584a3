# A small tracker for real videos, on ImageNet's features: a quarter of an hour
# on a CPU core. Data and backbone: docs/tracking.md.
_base_ = './dimp_small.py'

max_iters = 700
crop = 256
sigma = 1.0  # a quarter of the target's side, of 4 cells

train_pipeline = _base_.train_pipeline
train_pipeline[4].output_size = crop
generated, real = (
    dict(dataset, pipeline=train_pipeline)
    for dataset in _base_.train_dataloader.dataset.datasets
)
stills = dict(
    type='mmdhp.SOTCocoDataset',
    data_root='data/tiny_boxes',
    ann_file='annotations.json',
    data_prefix=dict(img_path='images'),
    pipeline=train_pipeline,
    max_refetch=1000,
)
train_dataloader = dict(
    dataset=dict(
        dataset_sampling_weights=[1, 2, 3],
        datasets=[generated, stills, real],
    ),
)
test_evaluator = dict(outfile_prefix='work_dirs/tracking/lite0')
val_evaluator = test_evaluator

model = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.TIMMBackbone',
        model_name='tf_efficientnet_lite0',
        features_only=True,
        feature_cls='getter',  # without the layers behind the last output
        out_indices=(2, 3),
        init_cfg=dict(
            type='Pretrained', checkpoint='data/efficientnet_lite0.pth'
        ),
    ),
    freeze_backbone=True,
    cls_head=dict(
        gauss_sigma=sigma,
        filter_initializer=dict(filter_size=4, feature_stride=16),
        filter_optimizer=dict(gauss_sigma=sigma, feat_stride=16),
    ),
    bbox_head=dict(feat_strides=(8, 16)),
    tracker=dict(
        img_sample_size=crop,
        # In place of the box head, which a few videos cannot teach all shapes.
        scale_cfg=dict(factors=(0.96, 1.0, 1.04), penalty=0.98),
    ),
)

# Nearly as it is drawn: larger rates did not track held-out videos better. The
# box head learns at the full rate.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'cls_head': dict(lr_mult=0.02),
            'cls_head.filter_initializer': dict(lr_mult=0.02),
            'cls_head.filter_optimizer': dict(lr_mult=0.1),
        }
    )
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
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
