_base_ = [
    '../_base_/models/densenet40_cifar.py',
    '../_base_/datasets/cifar10_bs64.py',
    '../_base_/schedules/cifar_300e.py',
    'mmpretrain::_base_/default_runtime.py',
]

optim_wrapper = dict(optimizer=dict(nesterov=True))
