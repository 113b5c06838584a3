# What DiMP-50 is trained on; tested on LaSOT.
crop_size = 288
train_pipeline = [
    dict(type='mmdhp.DiMPSampling', num_train=3, num_test=3),
    dict(type='mmdhp.LoadTrackImages'),
    dict(type='mmdhp.GrayAug', prob=0.05),
    dict(
        type='mmdhp.SeqBboxJitter',
        center_jitter_factor=[3, 3, 3, 4.5, 4.5, 4.5],
        scale_jitter_factor=[0.25, 0.25, 0.25, 0.5, 0.5, 0.5],
    ),
    dict(
        type='mmdhp.CropLikeDiMP', crop_size_factor=5.0, output_size=crop_size
    ),
    dict(type='mmdhp.BrightnessAug', jitter_range=0.2),
    dict(type='mmdhp.PackTrackInputs'),
]
test_pipeline = [
    dict(type='mmdhp.LoadTrackImages'),
    dict(type='mmdhp.PackTrackInputs'),
]

samples_per_epoch = 26000
train_dataloader = dict(
    batch_size=10,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(
        type='mmdhp.QuotaSampler', samples_per_epoch=samples_per_epoch
    ),
    dataset=dict(
        type='mmdhp.RandomSampleConcatDataset',
        dataset_sampling_weights=[0.25, 1, 1, 1],
        datasets=[
            dict(
                type='mmdhp.LaSOTDataset',
                data_root='data/LaSOT',
                ann_file='training_set.txt',
                pipeline=train_pipeline,
            ),
            dict(
                type='mmdhp.GOT10kDataset',
                data_root='data/GOT-10k/train',
                pipeline=train_pipeline,
            ),
            dict(
                type='mmdhp.TrackingNetDataset',
                data_root='data/TrackingNet',
                chunks=['TRAIN_0', 'TRAIN_1', 'TRAIN_2', 'TRAIN_3'],
                pipeline=train_pipeline,
            ),
            dict(
                type='mmdhp.SOTCocoDataset',
                data_root='data/coco',
                ann_file='annotations/instances_train2014.json',
                data_prefix=dict(img_path='train2014'),
                pipeline=train_pipeline,
            ),
        ],
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='mmdhp.VideoSampler'),
    dataset=dict(
        type='mmdhp.LaSOTDataset',
        data_root='data/LaSOT',
        ann_file='testing_set.txt',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_evaluator = dict(
    type='mmdhp.SOTMetric',
    protocol='lasot',
    outfile_prefix='work_dirs/tracking/lasot',
)
val_dataloader = test_dataloader
val_evaluator = test_evaluator
