# Gray images with Gaussian noise: Li et al., ECCV 2020, trained on DIV2K.
# Colour images are read as gray. Any folder will do, at any noise level.
sigma = 70
load_clean = dict(
    type='LoadImageFromFile',
    key='gt',
    color_type='grayscale',
    imdecode_backend='cv2',
)
train_pipeline = [
    load_clean,
    dict(type='Crop', keys=['gt'], crop_size=(64, 64), random_crop=True),
    dict(type='Flip', keys=['gt'], flip_ratio=0.5, direction='horizontal'),
    dict(type='Flip', keys=['gt'], flip_ratio=0.5, direction='vertical'),
    dict(type='RandomTransposeHW', keys=['gt'], transpose_ratio=0.5),
    dict(type='mmdhp.AddGaussianNoise', sigma=sigma),
    dict(type='PackInputs'),
]
test_pipeline = [
    load_clean,
    dict(type='mmdhp.AddGaussianNoise', sigma=sigma, seed=0),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    num_workers=8,
    batch_size=64,
    drop_last=True,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='mmdhp.ImageFolder',
        data_root='data/DIV2K',
        data_prefix=dict(gt='DIV2K_train_HR_sub'),
        pipeline=train_pipeline,
    ),
)

bsd68_dataloader = dict(
    num_workers=2,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdhp.ImageFolder',
        data_root='data/denoise/BSD68',
        pipeline=test_pipeline,
    ),
)
bsd68_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(type='mmdhp.PSNR', crop_border=1, prefix='BSD68'),
        dict(type='mmdhp.SSIM', crop_border=1, prefix='BSD68'),
    ],
)

set12_dataloader = dict(
    bsd68_dataloader,
    dataset=dict(
        bsd68_dataloader['dataset'],
        data_root='data/denoise/Set12',
    ),
)
set12_evaluator = dict(
    type='Evaluator',
    metrics=[dict(m, prefix='Set12') for m in bsd68_evaluator['metrics']],
)

div2k_dataloader = dict(
    bsd68_dataloader,
    dataset=dict(
        bsd68_dataloader['dataset'],
        data_root='data/DIV2K',
        data_prefix=dict(gt='DIV2K_valid_HR'),
    ),
)
div2k_evaluator = dict(
    type='Evaluator',
    metrics=[dict(m, prefix='DIV2K') for m in bsd68_evaluator['metrics']],
)

test_cfg = dict(type='MultiTestLoop')
test_dataloader = [bsd68_dataloader, set12_dataloader, div2k_dataloader]
test_evaluator = [bsd68_evaluator, set12_evaluator, div2k_evaluator]

val_cfg = dict(type='MultiValLoop')
val_dataloader = bsd68_dataloader
val_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(type='mmdhp.PSNR', crop_border=1),
        dict(type='mmdhp.SSIM', crop_border=1),
    ],
)
