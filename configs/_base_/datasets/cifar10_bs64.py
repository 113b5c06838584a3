_base_ = 'mmpretrain::_base_/datasets/cifar10_bs16.py'

data_preprocessor = dict(
    mean=[125.3, 123.0, 113.9],
    std=[63.0, 62.1, 66.7],
)
train_dataloader = dict(batch_size=64, dataset=dict(type='mmdhp.CIFAR10'))
val_dataloader = dict(batch_size=500, dataset=dict(type='mmdhp.CIFAR10'))
test_dataloader = dict(batch_size=500, dataset=dict(type='mmdhp.CIFAR10'))
