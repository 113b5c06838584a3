"""A pruned model: test or train it as any other.

Needs this folder, not mmdhp.
"""
import sys

sys.path.insert(0, '{{ fileDirname }}')

bsd68_dataloader = dict(
    dataset=dict(
        data_root='data/denoise/BSD68',
        pipeline=[
            dict(
                color_type='grayscale',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(seed=0, sigma=70, type='mmengine.AddGaussianNoise'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
bsd68_evaluator = dict(
    metrics=[
        dict(crop_border=1, prefix='BSD68', type='mmengine.PSNR'),
        dict(crop_border=1, prefix='BSD68', type='mmengine.SSIM'),
    ],
    type='Evaluator')
custom_hooks = []
custom_imports = dict(
    allow_failed_imports=False,
    imports=[
        'pruned_architecture_degradations_dncnn_image_folder_image_quality',
    ])
default_hooks = dict(
    checkpoint=dict(
        _scope_='mmagic',
        by_epoch=False,
        interval=5000,
        max_keep_ckpts=10,
        out_dir='./work_dirs',
        rule='greater',
        save_best='PSNR',
        type='CheckpointHook'),
    logger=dict(_scope_='mmagic', interval=100, type='LoggerHook'),
    param_scheduler=dict(_scope_='mmagic', type='ParamSchedulerHook'),
    sampler_seed=dict(_scope_='mmagic', type='DistSamplerSeedHook'),
    timer=dict(_scope_='mmagic', type='IterTimerHook'))
default_scope = 'mmagic'
div2k_dataloader = dict(
    dataset=dict(
        data_prefix=dict(gt='DIV2K_valid_HR'),
        data_root='data/DIV2K',
        pipeline=[
            dict(
                color_type='grayscale',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(seed=0, sigma=70, type='mmengine.AddGaussianNoise'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
div2k_evaluator = dict(
    metrics=[
        dict(crop_border=1, prefix='DIV2K', type='mmengine.PSNR'),
        dict(crop_border=1, prefix='DIV2K', type='mmengine.SSIM'),
    ],
    type='Evaluator')
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=4))
load_clean = dict(
    color_type='grayscale',
    imdecode_backend='cv2',
    key='gt',
    type='LoadImageFromFile')
log_level = 'INFO'
log_processor = dict(
    _scope_='mmagic', by_epoch=False, type='LogProcessor', window_size=100)
max_iters = 2000
model = dict(
    architecture=dict(
        data_preprocessor=dict(
            mean=[
                0.0,
            ], std=[
                255.0,
            ], type='DataPreprocessor'),
        generator=dict(
            in_channels=1,
            mid_channels=64,
            num_blocks=5,
            type='mmengine.DnCNN'),
        pixel_loss=dict(loss_weight=1.0, reduction='mean', type='L1Loss'),
        test_cfg=dict(),
        train_cfg=dict(),
        type='BaseEditModel'),
    backbone=dict(),
    type='mmengine.Pruned')
optim_wrapper = dict(
    optimizer=dict(betas=(
        0.9,
        0.999,
    ), lr=0.001, type='Adam'),
    type='OptimWrapper')
param_scheduler = [
    dict(by_epoch=False, gamma=0.1, milestones=[
        733,
    ], type='MultiStepLR'),
]
randomness = dict(seed=1)
save_dir = './work_dirs'
set12_dataloader = dict(
    dataset=dict(
        data_root='data/denoise/Set12',
        pipeline=[
            dict(
                color_type='grayscale',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(seed=0, sigma=70, type='mmengine.AddGaussianNoise'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
set12_evaluator = dict(
    metrics=[
        dict(crop_border=1, prefix='Set12', type='mmengine.PSNR'),
        dict(crop_border=1, prefix='Set12', type='mmengine.SSIM'),
    ],
    type='Evaluator')
sigma = 70
test_cfg = dict(type='MultiTestLoop')
test_dataloader = [
    dict(
        dataset=dict(
            data_root='data/denoise/BSD68',
            pipeline=[
                dict(
                    color_type='grayscale',
                    imdecode_backend='cv2',
                    key='gt',
                    type='LoadImageFromFile'),
                dict(seed=0, sigma=70, type='mmengine.AddGaussianNoise'),
                dict(type='PackInputs'),
            ],
            type='mmengine.ImageFolder'),
        drop_last=False,
        num_workers=2,
        persistent_workers=False,
        sampler=dict(shuffle=False, type='DefaultSampler')),
    dict(
        dataset=dict(
            data_root='data/denoise/Set12',
            pipeline=[
                dict(
                    color_type='grayscale',
                    imdecode_backend='cv2',
                    key='gt',
                    type='LoadImageFromFile'),
                dict(seed=0, sigma=70, type='mmengine.AddGaussianNoise'),
                dict(type='PackInputs'),
            ],
            type='mmengine.ImageFolder'),
        drop_last=False,
        num_workers=2,
        persistent_workers=False,
        sampler=dict(shuffle=False, type='DefaultSampler')),
]
test_evaluator = [
    dict(
        metrics=[
            dict(crop_border=1, prefix='BSD68', type='mmengine.PSNR'),
            dict(crop_border=1, prefix='BSD68', type='mmengine.SSIM'),
        ],
        type='Evaluator'),
    dict(
        metrics=[
            dict(crop_border=1, prefix='Set12', type='mmengine.PSNR'),
            dict(crop_border=1, prefix='Set12', type='mmengine.SSIM'),
        ],
        type='Evaluator'),
]
test_pipeline = [
    dict(
        color_type='grayscale',
        imdecode_backend='cv2',
        key='gt',
        type='LoadImageFromFile'),
    dict(seed=0, sigma=70, type='mmengine.AddGaussianNoise'),
    dict(type='PackInputs'),
]
train_cfg = dict(max_iters=1100, type='IterBasedTrainLoop', val_interval=500)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        data_prefix=dict(gt='Train400'),
        data_root='data/denoise',
        pipeline=[
            dict(
                color_type='grayscale',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(
                crop_size=(
                    40,
                    40,
                ),
                keys=[
                    'gt',
                ],
                random_crop=True,
                type='Crop'),
            dict(
                direction='horizontal',
                flip_ratio=0.5,
                keys=[
                    'gt',
                ],
                type='Flip'),
            dict(
                direction='vertical',
                flip_ratio=0.5,
                keys=[
                    'gt',
                ],
                type='Flip'),
            dict(keys=[
                'gt',
            ], transpose_ratio=0.5, type='RandomTransposeHW'),
            dict(sigma=70, type='mmengine.AddGaussianNoise'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=True,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(shuffle=True, type='InfiniteSampler'))
train_pipeline = [
    dict(
        color_type='grayscale',
        imdecode_backend='cv2',
        key='gt',
        type='LoadImageFromFile'),
    dict(crop_size=(
        40,
        40,
    ), keys=[
        'gt',
    ], random_crop=True, type='Crop'),
    dict(direction='horizontal', flip_ratio=0.5, keys=[
        'gt',
    ], type='Flip'),
    dict(direction='vertical', flip_ratio=0.5, keys=[
        'gt',
    ], type='Flip'),
    dict(keys=[
        'gt',
    ], transpose_ratio=0.5, type='RandomTransposeHW'),
    dict(sigma=70, type='mmengine.AddGaussianNoise'),
    dict(type='PackInputs'),
]
val_cfg = dict(type='MultiValLoop')
val_dataloader = dict(
    dataset=dict(
        data_root='data/denoise/Set12',
        pipeline=[
            dict(
                color_type='grayscale',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(seed=0, sigma=70, type='mmengine.AddGaussianNoise'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(
    metrics=[
        dict(crop_border=1, type='mmengine.PSNR'),
        dict(crop_border=1, type='mmengine.SSIM'),
    ],
    type='Evaluator')
vis_backends = [
    dict(_scope_='mmagic', type='LocalVisBackend'),
]
visualizer = dict(
    _scope_='mmagic',
    bgr2rgb=True,
    fn_key='gt_path',
    img_keys=[
        'gt_img',
        'input',
        'pred_img',
    ],
    type='ConcatImageVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ])

model['channels'] = '{{ fileDirname }}/channels.json'
