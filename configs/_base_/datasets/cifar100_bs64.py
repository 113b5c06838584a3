_base_ = 'mmpretrain::_base_/datasets/cifar100_bs16.py'

# The papers normalise CIFAR-100 like CIFAR-10.
data_preprocessor = dict(
    mean=[125.3, 123.0, 113.9],
    std=[63.0, 62.1, 66.7],
)
train_dataloader = dict(batch_size=64, dataset=dict(type='mmdhp.CIFAR100'))
val_dataloader = dict(batch_size=256, dataset=dict(type='mmdhp.CIFAR100'))
test_dataloader = dict(batch_size=256, dataset=dict(type='mmdhp.CIFAR100'))
