_base_ = [
    '../_base_/models/mobilenet_v2_cifar.py',
    '../_base_/datasets/cifar10_bs64.py',
    '../_base_/schedules/cifar_300e.py',
    'mmpretrain::_base_/default_runtime.py',
]
