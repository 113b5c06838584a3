_base_ = [
    '../_base_/models/resnet110_cifar.py',
    '../_base_/datasets/cifar10_bs64.py',
    '../_base_/schedules/cifar_300e_dhp.py',
    'mmpretrain::_base_/default_runtime.py',
]

optim_wrapper = dict(
    pruner=dict(
        target=dict(macs=0.5),
        regularization=1e-4,
        # The paper leaves the last stage's output channels alone.
        exclude=['backbone.stages.2.0.shortcut'],
    )
)
