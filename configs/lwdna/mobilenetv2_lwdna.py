# LW-DNA of MobileNetV2: 93.8 % of the baseline's MACs, as in the paper.
_base_ = '../mobilenet_v2/mobilenetv2_tiny_imagenet.py'

model = dict(
    _delete_=True,
    type='mmdhp.Widened',
    architecture=_base_.model,
    factor=2,
    input_shape=(3, 64, 64),
)
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.LWDNA',
        target=dict(macs=0.938),
        input_shape=(3, 64, 64),
        min_channels=0.25,
        classifier_floor=0.45,
        kinds=('weight', 'norm', 'act'),
    ),
)
# As the baseline it is compared with, it learns from the baseline, trained.
custom_hooks = [
    dict(type='mmdhp.PruningHook'),
    dict(
        type='mmdhp.DistillationHook',
        teacher=dict(
            config='configs/mobilenet_v2/mobilenetv2_tiny_imagenet.py',
            checkpoint='work_dirs/mobilenetv2_tiny_imagenet/epoch_220.pth',
        ),
    ),
]
