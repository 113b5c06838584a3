# Generated videos, in LaSOT's layout: see docs/datasets.md.
crop_size = 128
search_factor = 4.0
train_pipeline = [
    dict(type='mmdhp.DiMPSampling', num_train=3, num_test=3),
    dict(type='mmdhp.LoadTrackImages'),
    dict(type='mmdhp.GrayAug', prob=0.05),
    dict(
        type='mmdhp.SeqBboxJitter',
        center_jitter_factor=[2, 2, 2, 3, 3, 3],
        scale_jitter_factor=[0.25, 0.25, 0.25, 0.5, 0.5, 0.5],
    ),
    dict(
        type='mmdhp.CropLikeDiMP',
        crop_size_factor=search_factor,
        output_size=crop_size,
    ),
    dict(type='mmdhp.BrightnessAug', jitter_range=0.2),
    dict(type='mmdhp.PackTrackInputs'),
]
test_pipeline = [
    dict(type='mmdhp.LoadTrackImages'),
    dict(type='mmdhp.PackTrackInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='mmdhp.QuotaSampler', samples_per_epoch=400),
    dataset=dict(
        type='mmdhp.LaSOTDataset',
        data_root='data/toy_sot',
        ann_file='training_set.txt',
        pipeline=train_pipeline,
        max_refetch=1000,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='mmdhp.VideoSampler'),
    dataset=dict(
        type='mmdhp.LaSOTDataset',
        data_root='data/toy_sot',
        ann_file='testing_set.txt',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_evaluator = dict(
    type='mmdhp.SOTMetric',
    protocol='otb',
    outfile_prefix='work_dirs/tracking/toy',
)
val_dataloader = test_dataloader
val_evaluator = test_evaluator
