"""A pruned model: test or train it as any other.

Needs this folder, not mmdhp.
"""
import sys

sys.path.insert(0, '{{ fileDirname }}')

b100_dataloader = dict(
    dataset=dict(
        data_prefix=dict(gt='HR', img='LR_bicubic/X4'),
        data_root='data/benchmark/B100',
        filename_tmpl=dict(img='{}x4'),
        pipeline=[
            dict(
                channel_order='rgb',
                color_type='color',
                imdecode_backend='cv2',
                key='img',
                type='LoadImageFromFile'),
            dict(
                color_type='unchanged',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
b100_evaluator = dict(
    metrics=[
        dict(
            convert_to='Y', crop_border=4, prefix='B100',
            type='mmengine.PSNR'),
        dict(
            convert_to='Y', crop_border=4, prefix='B100',
            type='mmengine.SSIM'),
    ],
    type='Evaluator')
custom_hooks = []
custom_imports = dict(
    allow_failed_imports=False,
    imports=[
        'pruned_architecture_image_folder_image_quality_srresnet',
    ])
data_root = 'data/sample_sr'
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
        data_prefix=dict(gt='DIV2K_valid_HR', img='DIV2K_valid_LR_bicubic/X4'),
        data_root='data/DIV2K',
        filename_tmpl=dict(img='{}x4'),
        pipeline=[
            dict(
                channel_order='rgb',
                color_type='color',
                imdecode_backend='cv2',
                key='img',
                type='LoadImageFromFile'),
            dict(
                color_type='unchanged',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
div2k_evaluator = dict(
    metrics=[
        dict(crop_border=10, prefix='DIV2K', type='mmengine.PSNR'),
        dict(crop_border=10, prefix='DIV2K', type='mmengine.SSIM'),
    ],
    type='Evaluator')
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=4))
log_level = 'INFO'
log_processor = dict(
    _scope_='mmagic', by_epoch=False, type='LogProcessor', window_size=100)
max_iters = 1500
metainfo = dict(dataset_type='sample_sr', task_name='sisr')
model = dict(
    architecture=dict(
        data_preprocessor=dict(
            mean=[
                0.0,
                0.0,
                0.0,
            ],
            std=[
                255.0,
                255.0,
                255.0,
            ],
            type='DataPreprocessor'),
        generator=dict(
            in_channels=3,
            mid_channels=64,
            num_blocks=8,
            out_channels=3,
            type='mmengine.SRResNet',
            upscale_factor=4),
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
sample_dataloader = dict(
    dataset=dict(
        data_prefix=dict(gt='HR', img='LR_bicubic_X4'),
        data_root='data/sample_sr/val',
        metainfo=dict(dataset_type='sample_sr', task_name='sisr'),
        pipeline=[
            dict(
                channel_order='rgb',
                color_type='color',
                imdecode_backend='cv2',
                key='img',
                type='LoadImageFromFile'),
            dict(
                color_type='unchanged',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(type='PackInputs'),
        ],
        type='BasicImageDataset'),
    drop_last=False,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
save_dir = './work_dirs'
scale = 4
set14_dataloader = dict(
    dataset=dict(
        data_prefix=dict(gt='HR', img='LR_bicubic/X4'),
        data_root='data/benchmark/Set14',
        filename_tmpl=dict(img='{}x4'),
        pipeline=[
            dict(
                channel_order='rgb',
                color_type='color',
                imdecode_backend='cv2',
                key='img',
                type='LoadImageFromFile'),
            dict(
                color_type='unchanged',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
set14_evaluator = dict(
    metrics=[
        dict(
            convert_to='Y',
            crop_border=4,
            prefix='Set14',
            type='mmengine.PSNR'),
        dict(
            convert_to='Y',
            crop_border=4,
            prefix='Set14',
            type='mmengine.SSIM'),
    ],
    type='Evaluator')
set5_dataloader = dict(
    dataset=dict(
        data_prefix=dict(gt='HR', img='LR_bicubic/X4'),
        data_root='data/benchmark/Set5',
        filename_tmpl=dict(img='{}x4'),
        pipeline=[
            dict(
                channel_order='rgb',
                color_type='color',
                imdecode_backend='cv2',
                key='img',
                type='LoadImageFromFile'),
            dict(
                color_type='unchanged',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
set5_evaluator = dict(
    metrics=[
        dict(
            convert_to='Y', crop_border=4, prefix='Set5',
            type='mmengine.PSNR'),
        dict(
            convert_to='Y', crop_border=4, prefix='Set5',
            type='mmengine.SSIM'),
    ],
    type='Evaluator')
test_cfg = dict(type='MultiTestLoop')
test_dataloader = [
    dict(
        dataset=dict(
            data_prefix=dict(gt='HR', img='LR_bicubic/X4'),
            data_root='data/benchmark/Set5',
            filename_tmpl=dict(img='{}x4'),
            pipeline=[
                dict(
                    channel_order='rgb',
                    color_type='color',
                    imdecode_backend='cv2',
                    key='img',
                    type='LoadImageFromFile'),
                dict(
                    color_type='unchanged',
                    imdecode_backend='cv2',
                    key='gt',
                    type='LoadImageFromFile'),
                dict(type='PackInputs'),
            ],
            type='mmengine.ImageFolder'),
        drop_last=False,
        num_workers=2,
        persistent_workers=False,
        sampler=dict(shuffle=False, type='DefaultSampler')),
    dict(
        dataset=dict(
            data_prefix=dict(gt='HR', img='LR_bicubic/X4'),
            data_root='data/benchmark/Set14',
            filename_tmpl=dict(img='{}x4'),
            pipeline=[
                dict(
                    channel_order='rgb',
                    color_type='color',
                    imdecode_backend='cv2',
                    key='img',
                    type='LoadImageFromFile'),
                dict(
                    color_type='unchanged',
                    imdecode_backend='cv2',
                    key='gt',
                    type='LoadImageFromFile'),
                dict(type='PackInputs'),
            ],
            type='mmengine.ImageFolder'),
        drop_last=False,
        num_workers=2,
        persistent_workers=False,
        sampler=dict(shuffle=False, type='DefaultSampler')),
    dict(
        dataset=dict(
            data_prefix=dict(gt='HR', img='LR_bicubic/X4'),
            data_root='data/benchmark/B100',
            filename_tmpl=dict(img='{}x4'),
            pipeline=[
                dict(
                    channel_order='rgb',
                    color_type='color',
                    imdecode_backend='cv2',
                    key='img',
                    type='LoadImageFromFile'),
                dict(
                    color_type='unchanged',
                    imdecode_backend='cv2',
                    key='gt',
                    type='LoadImageFromFile'),
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
            dict(
                convert_to='Y',
                crop_border=4,
                prefix='Set5',
                type='mmengine.PSNR'),
            dict(
                convert_to='Y',
                crop_border=4,
                prefix='Set5',
                type='mmengine.SSIM'),
        ],
        type='Evaluator'),
    dict(
        metrics=[
            dict(
                convert_to='Y',
                crop_border=4,
                prefix='Set14',
                type='mmengine.PSNR'),
            dict(
                convert_to='Y',
                crop_border=4,
                prefix='Set14',
                type='mmengine.SSIM'),
        ],
        type='Evaluator'),
    dict(
        metrics=[
            dict(
                convert_to='Y',
                crop_border=4,
                prefix='B100',
                type='mmengine.PSNR'),
            dict(
                convert_to='Y',
                crop_border=4,
                prefix='B100',
                type='mmengine.SSIM'),
        ],
        type='Evaluator'),
]
test_pipeline = [
    dict(
        channel_order='rgb',
        color_type='color',
        imdecode_backend='cv2',
        key='img',
        type='LoadImageFromFile'),
    dict(
        color_type='unchanged',
        imdecode_backend='cv2',
        key='gt',
        type='LoadImageFromFile'),
    dict(type='PackInputs'),
]
train_cfg = dict(max_iters=1100, type='IterBasedTrainLoop', val_interval=500)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        data_prefix=dict(gt='HR', img='LR_bicubic_X4'),
        data_root='data/train_x4',
        pipeline=[
            dict(
                channel_order='rgb',
                color_type='color',
                imdecode_backend='cv2',
                key='img',
                type='LoadImageFromFile'),
            dict(
                channel_order='rgb',
                color_type='color',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(dictionary=dict(scale=4), type='SetValues'),
            dict(gt_patch_size=96, type='PairedRandomCrop'),
            dict(
                direction='horizontal',
                flip_ratio=0.5,
                keys=[
                    'img',
                    'gt',
                ],
                type='Flip'),
            dict(
                direction='vertical',
                flip_ratio=0.5,
                keys=[
                    'img',
                    'gt',
                ],
                type='Flip'),
            dict(
                keys=[
                    'img',
                    'gt',
                ],
                transpose_ratio=0.5,
                type='RandomTransposeHW'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=True,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(shuffle=True, type='InfiniteSampler'))
train_pipeline = [
    dict(
        channel_order='rgb',
        color_type='color',
        imdecode_backend='cv2',
        key='img',
        type='LoadImageFromFile'),
    dict(
        channel_order='rgb',
        color_type='color',
        imdecode_backend='cv2',
        key='gt',
        type='LoadImageFromFile'),
    dict(dictionary=dict(scale=4), type='SetValues'),
    dict(gt_patch_size=96, type='PairedRandomCrop'),
    dict(
        direction='horizontal',
        flip_ratio=0.5,
        keys=[
            'img',
            'gt',
        ],
        type='Flip'),
    dict(
        direction='vertical',
        flip_ratio=0.5,
        keys=[
            'img',
            'gt',
        ],
        type='Flip'),
    dict(keys=[
        'img',
        'gt',
    ], transpose_ratio=0.5, type='RandomTransposeHW'),
    dict(type='PackInputs'),
]
urban100_dataloader = dict(
    dataset=dict(
        data_prefix=dict(gt='HR', img='LR_bicubic/X4'),
        data_root='data/benchmark/Urban100',
        filename_tmpl=dict(img='{}x4'),
        pipeline=[
            dict(
                channel_order='rgb',
                color_type='color',
                imdecode_backend='cv2',
                key='img',
                type='LoadImageFromFile'),
            dict(
                color_type='unchanged',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
urban100_evaluator = dict(
    metrics=[
        dict(
            convert_to='Y',
            crop_border=4,
            prefix='Urban100',
            type='mmengine.PSNR'),
        dict(
            convert_to='Y',
            crop_border=4,
            prefix='Urban100',
            type='mmengine.SSIM'),
    ],
    type='Evaluator')
val_cfg = dict(type='MultiValLoop')
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(gt='HR', img='LR_bicubic/X4'),
        data_root='data/benchmark/Set5',
        filename_tmpl=dict(img='{}x4'),
        pipeline=[
            dict(
                channel_order='rgb',
                color_type='color',
                imdecode_backend='cv2',
                key='img',
                type='LoadImageFromFile'),
            dict(
                color_type='unchanged',
                imdecode_backend='cv2',
                key='gt',
                type='LoadImageFromFile'),
            dict(type='PackInputs'),
        ],
        type='mmengine.ImageFolder'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(
    metrics=[
        dict(convert_to='Y', crop_border=4, type='mmengine.PSNR'),
        dict(convert_to='Y', crop_border=4, type='mmengine.SSIM'),
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
