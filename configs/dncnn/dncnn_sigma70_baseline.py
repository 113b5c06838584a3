_base_ = [
    '../_base_/mmagic_runtime.py',
    '../_base_/models/dncnn_gray.py',
    '../_base_/datasets/gray_sigma70.py',
    '../_base_/schedules/denoise_60e.py',
]
