_base_ = [
    '../_base_/models/mobilenet_v2_tiny.py',
    '../_base_/datasets/tiny_imagenet_bs64.py',
    '../_base_/schedules/tiny_imagenet_220e.py',
    'mmpretrain::_base_/default_runtime.py',
]
