# A small tracker for real videos: trained in minutes on a CPU core, without
# ImageNet. Data and backbone: docs/tracking.md.
_base_ = './dimp_toy.py'

max_iters = 1200
crop = 160
sigma = 1.25  # a quarter of the target's side, of 5 cells

train_pipeline = [
    dict(type='mmdhp.DiMPSampling', num_train=3, num_test=3),
    dict(type='mmdhp.LoadTrackImages'),
    dict(type='mmdhp.GrayAug', prob=0.3),
    dict(
        type='mmdhp.SeqBboxJitter',
        center_jitter_factor=[2, 2, 2, 3, 3, 3],
        scale_jitter_factor=[0.15, 0.15, 0.15, 0.25, 0.25, 0.25],
    ),
    dict(type='mmdhp.CropLikeDiMP', crop_size_factor=4.0, output_size=crop),
    dict(type='mmdhp.BrightnessAug', jitter_range=0.4),
    dict(type='mmdhp.PackTrackInputs'),
]
train_dataloader = dict(
    sampler=dict(samples_per_epoch=4000),
    dataset=dict(
        _delete_=True,
        type='mmdhp.RandomSampleConcatDataset',
        dataset_sampling_weights=[4, 1],
        datasets=[
            dict(
                type='mmdhp.LaSOTDataset',
                data_root='data/photo_sot',
                ann_file='training_set.txt',
                pipeline=train_pipeline,
                max_refetch=1000,
            ),
            # Real videos, any number; without, remove it and its weight.
            dict(
                type='mmdhp.OTB100Dataset',
                data_root='data/real_sot',
                pipeline=train_pipeline,
                max_refetch=1000,
            ),
        ],
    ),
)
test_dataloader = dict(
    dataset=dict(
        type='mmdhp.OTB100Dataset', data_root='data/OTB100', ann_file=''
    )
)
val_dataloader = test_dataloader
test_evaluator = dict(outfile_prefix='work_dirs/tracking/small')
val_evaluator = test_evaluator

model = dict(
    backbone=dict(
        strides=(1, 2, 1),  # score maps of stride 8: 5 cells for a target
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            checkpoint='work_dirs/resnet18_w16_cifar10/epoch_6.pth',
            prefix='backbone.',
        ),
    ),
    cls_head=dict(
        gauss_sigma=sigma,
        filter_initializer=dict(filter_size=5, feature_stride=8),
        filter_optimizer=dict(gauss_sigma=sigma, feat_stride=8),
    ),
    bbox_head=dict(feat_strides=(8, 8)),
    tracker=dict(
        img_sample_size=crop,
        locate_cfg=dict(subcell=True),
        # Overlaps learned from so few objects do not generalise. Where sizes
        # change much: scale_cfg=dict(factors=(0.96, 1.0, 1.04), penalty=0.98)
        bbox_cfg=dict(num_init_random_boxes=0, box_refine_iter=0),
    ),
)

optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
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
