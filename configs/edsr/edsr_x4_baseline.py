_base_ = [
    '../_base_/mmagic_runtime.py',
    '../_base_/models/edsr_x4.py',
    '../_base_/datasets/div2k_x4.py',
    '../_base_/schedules/sr_300e.py',
]

# EDSR learns from larger patches than SRResNet: 192 (HR), 48 (LR).
_base_.train_pipeline[3].gt_patch_size = 192
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
