# As the baseline, on pairs of any folder of images.
_base_ = [
    '../_base_/mmagic_runtime.py',
    '../_base_/models/srresnet_x4.py',
    '../_base_/datasets/folder_x4.py',
    '../_base_/schedules/sr_300e.py',
]
