# Colour, any noise up to 55 (CDnCNN-B of Zhang et al., TIP 2017).
_base_ = [
    '../_base_/mmagic_runtime.py',
    '../_base_/models/dncnn_gray.py',
    '../_base_/datasets/color_blind.py',
    '../_base_/schedules/denoise_60e.py',
]

model = dict(
    generator=dict(in_channels=3, num_blocks=18),
    data_preprocessor=dict(mean=[0.0] * 3, std=[255.0] * 3),
)
