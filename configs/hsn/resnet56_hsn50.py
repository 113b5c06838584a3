_base_ = [
    '../_base_/models/resnet56_cifar.py',
    '../_base_/datasets/cifar10_bs64.py',
    '../_base_/schedules/cifar_finetune_160e_hsn.py',
    'mmpretrain::_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=128)
custom_hooks = [
    dict(
        type='mmdhp.PruningHook',
        interval=100,
        search=dict(
            max_epochs=200,
            samples=2500,
            dataloader=dict(
                batch_size=256, dataset=dict(pipeline=_base_.test_pipeline)
            ),
        ),
    )
]
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
# Trained by configs/resnet_cifar/resnet56_cifar10.py.
load_from = 'work_dirs/resnet56_cifar10/epoch_300.pth'
