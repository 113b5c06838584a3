# Set5, Set14, B100, Urban100 as EDSR's benchmark.tar unpacks, and the 100
# validation images of DIV2K, measured as in the papers: luma and a border of
# the scale; for DIV2K colour, with six more pixels cut off.
scale = 4
test_pipeline = [
    dict(
        type='LoadImageFromFile',
        key='img',
        color_type='color',
        channel_order='rgb',
        imdecode_backend='cv2',
    ),
    # Gray files stay gray: Set14 has one, which papers measure as it is.
    dict(
        type='LoadImageFromFile',
        key='gt',
        color_type='unchanged',
        imdecode_backend='cv2',
    ),
    dict(type='PackInputs'),
]

set5_dataloader = dict(
    num_workers=2,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdhp.ImageFolder',
        data_root='data/benchmark/Set5',
        data_prefix=dict(gt='HR', img='LR_bicubic/X4'),
        filename_tmpl=dict(img='{}x4'),
        pipeline=test_pipeline,
    ),
)
set5_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(
            type='mmdhp.PSNR',
            crop_border=scale,
            convert_to='Y',
            prefix='Set5',
        ),
        dict(
            type='mmdhp.SSIM',
            crop_border=scale,
            convert_to='Y',
            prefix='Set5',
        ),
    ],
)

set14_dataloader = dict(
    set5_dataloader,
    dataset=dict(
        set5_dataloader['dataset'],
        data_root='data/benchmark/Set14',
    ),
)
set14_evaluator = dict(
    type='Evaluator',
    metrics=[dict(m, prefix='Set14') for m in set5_evaluator['metrics']],
)

b100_dataloader = dict(
    set5_dataloader,
    dataset=dict(
        set5_dataloader['dataset'],
        data_root='data/benchmark/B100',
    ),
)
b100_evaluator = dict(
    type='Evaluator',
    metrics=[dict(m, prefix='B100') for m in set5_evaluator['metrics']],
)

urban100_dataloader = dict(
    set5_dataloader,
    dataset=dict(
        set5_dataloader['dataset'],
        data_root='data/benchmark/Urban100',
    ),
)
urban100_evaluator = dict(
    type='Evaluator',
    metrics=[dict(m, prefix='Urban100') for m in set5_evaluator['metrics']],
)

div2k_dataloader = dict(
    set5_dataloader,
    dataset=dict(
        set5_dataloader['dataset'],
        data_root='data/DIV2K',
        data_prefix=dict(gt='DIV2K_valid_HR', img='DIV2K_valid_LR_bicubic/X4'),
    ),
)
div2k_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(type='mmdhp.PSNR', crop_border=scale + 6, prefix='DIV2K'),
        dict(type='mmdhp.SSIM', crop_border=scale + 6, prefix='DIV2K'),
    ],
)

test_cfg = dict(type='MultiTestLoop')
test_dataloader = [
    set5_dataloader,
    set14_dataloader,
    b100_dataloader,
    urban100_dataloader,
    div2k_dataloader,
]
test_evaluator = [
    set5_evaluator,
    set14_evaluator,
    b100_evaluator,
    urban100_evaluator,
    div2k_evaluator,
]

# Set5 alone during training, as in the paper.
val_cfg = dict(type='MultiValLoop')
val_dataloader = set5_dataloader
val_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(type='mmdhp.PSNR', crop_border=scale, convert_to='Y'),
        dict(type='mmdhp.SSIM', crop_border=scale, convert_to='Y'),
    ],
)
