_base_ = [
    '../_base_/models/resnet56_cifar.py',
    '../_base_/datasets/cifar10_bs64.py',
    '../_base_/schedules/cifar_finetune_40e_oneshot.py',
    'mmpretrain::_base_/default_runtime.py',
]

# Trained by configs/resnet_cifar/resnet56_cifar10.py.
load_from = 'work_dirs/resnet56_cifar10/epoch_300.pth'
