_base_ = 'mmagic::_base_/datasets/sisr_x4_test_config.py'

scale = 4
train_pipeline = [
    dict(
        type='LoadImageFromFile',
        key='img',
        color_type='color',
        channel_order='rgb',
        imdecode_backend='cv2',
    ),
    dict(
        type='LoadImageFromFile',
        key='gt',
        color_type='color',
        channel_order='rgb',
        imdecode_backend='cv2',
    ),
    dict(type='SetValues', dictionary=dict(scale=scale)),
    dict(type='PairedRandomCrop', gt_patch_size=96),
    dict(
        type='Flip',
        keys=['img', 'gt'],
        flip_ratio=0.5,
        direction='horizontal',
    ),
    dict(
        type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='vertical'
    ),
    dict(type='RandomTransposeHW', keys=['img', 'gt'], transpose_ratio=0.5),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    num_workers=8,
    batch_size=16,
    drop_last=True,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BasicImageDataset',
        ann_file='meta_info_DIV2K800sub_GT.txt',
        metainfo=dict(dataset_type='div2k', task_name='sisr'),
        data_root='data/DIV2K',
        data_prefix=dict(
            img='DIV2K_train_LR_bicubic/X4_sub', gt='DIV2K_train_HR_sub'
        ),
        filename_tmpl=dict(img='{}', gt='{}'),
        pipeline=train_pipeline,
    ),
)

# Set5 alone during training, as in the paper.
val_dataloader = _base_.set5_dataloader
val_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(type='PSNR', crop_border=scale, convert_to='Y'),
        dict(type='SSIM', crop_border=scale, convert_to='Y'),
    ],
)
val_cfg = dict(type='MultiValLoop')

# The official 100 validation images; MMagic's own test config reads
# sub-images of training photos.
div2k_dataloader = dict(
    num_workers=4,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BasicImageDataset',
        metainfo=dict(dataset_type='div2k', task_name='sisr'),
        data_root='data/DIV2K',
        data_prefix=dict(img='DIV2K_valid_LR_bicubic/X4', gt='DIV2K_valid_HR'),
        filename_tmpl=dict(img='{}x4', gt='{}'),
        pipeline=_base_.test_pipeline,
    ),
)

# The paper's protocol: luma for the benchmarks; for DIV2K colour, with six
# more pixels cut off.
set5_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(type='PSNR', crop_border=scale, convert_to='Y', prefix='Set5'),
        dict(type='SSIM', crop_border=scale, convert_to='Y', prefix='Set5'),
    ],
)
set14_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(type='PSNR', crop_border=scale, convert_to='Y', prefix='Set14'),
        dict(type='SSIM', crop_border=scale, convert_to='Y', prefix='Set14'),
    ],
)
div2k_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(type='PSNR', crop_border=scale + 6, prefix='DIV2K'),
        dict(type='SSIM', crop_border=scale + 6, prefix='DIV2K'),
    ],
)
test_dataloader = [
    _base_.set5_dataloader,
    _base_.set14_dataloader,
    div2k_dataloader,
]
test_evaluator = [set5_evaluator, set14_evaluator, div2k_evaluator]
