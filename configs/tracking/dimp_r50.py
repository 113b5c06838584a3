_base_ = [
    '../_base_/models/dimp_r50.py',
    '../_base_/datasets/dimp_lasot.py',
    '../_base_/schedules/dimp_50e.py',
    '../_base_/tracking_runtime.py',
]
