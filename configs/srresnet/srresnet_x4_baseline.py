_base_ = [
    '../_base_/mmagic_runtime.py',
    '../_base_/models/srresnet_x4.py',
    '../_base_/datasets/div2k_x4.py',
    '../_base_/schedules/sr_300e.py',
]
