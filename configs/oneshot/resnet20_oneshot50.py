_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/cifar10_bs64.py',
    '../_base_/schedules/cifar_finetune_40e_oneshot.py',
    'mmpretrain::_base_/default_runtime.py',
]

# Trained by configs/resnet_cifar/resnet20_cifar10.py.
load_from = 'work_dirs/resnet20_cifar10/epoch_300.pth'
