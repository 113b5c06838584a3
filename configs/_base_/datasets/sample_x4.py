# Made by tools/dataset_converters/prepare_sample.py.
_base_ = './div2k_x4.py'

data_root = 'data/sample_sr'
metainfo = dict(dataset_type='sample_sr', task_name='sisr')

train_dataloader = dict(
    num_workers=1,
    batch_size=4,
    dataset=dict(
        ann_file='',
        metainfo=metainfo,
        data_root=f'{data_root}/train',
        data_prefix=dict(img='LR_bicubic_X4', gt='HR'),
    ),
)

sample_dataloader = dict(
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BasicImageDataset',
        metainfo=metainfo,
        data_root=f'{data_root}/val',
        data_prefix=dict(img='LR_bicubic_X4', gt='HR'),
        pipeline=_base_.test_pipeline,
    ),
)
val_dataloader = dict(_delete_=True, **sample_dataloader)
test_dataloader = [sample_dataloader]
test_evaluator = [_base_.val_evaluator]
