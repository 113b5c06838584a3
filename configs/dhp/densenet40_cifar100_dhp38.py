# λ of DenseNet is not published; it is chosen from the search length.
_base_ = [
    '../_base_/models/densenet40_cifar.py',
    '../_base_/datasets/cifar100_bs64.py',
    '../_base_/schedules/cifar_300e_dhp.py',
    'mmpretrain::_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(
    optimizer=dict(nesterov=True), pruner=dict(target=dict(macs=0.38))
)
