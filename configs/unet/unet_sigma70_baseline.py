_base_ = [
    '../_base_/mmagic_runtime.py',
    '../_base_/models/unet_gray.py',
    '../_base_/datasets/gray_sigma70.py',
    '../_base_/schedules/denoise_60e.py',
]

# UNet learns from larger patches than DnCNN, fewer at a time.
_base_.train_pipeline[1].crop_size = (128, 128)
train_dataloader = dict(
    batch_size=16, dataset=dict(pipeline=_base_.train_pipeline)
)
