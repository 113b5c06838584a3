_base_ = [
    '../_base_/mmagic_runtime.py',
    '../_base_/models/dncnn_gray.py',
    '../_base_/datasets/gray_sigma70.py',
    '../_base_/schedules/denoise_sample.py',
]

# A third as deep as the paper's, on smaller patches, for two CPU cores.
model = dict(generator=dict(num_blocks=5))
randomness = dict(seed=0)

_base_.train_pipeline[1].crop_size = (40, 40)
train_dataloader = dict(
    num_workers=1,
    batch_size=16,
    dataset=dict(
        data_root='data/denoise',
        data_prefix=dict(gt='Train400'),
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(data_root='data/denoise/Set12'))
test_dataloader = [_base_.bsd68_dataloader, _base_.set12_dataloader]
test_evaluator = [_base_.bsd68_evaluator, _base_.set12_evaluator]
