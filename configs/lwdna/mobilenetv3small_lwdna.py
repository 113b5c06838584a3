# LW-DNA of MobileNetV3-small: 98.9 % of the baseline's MACs, as in the paper.
_base_ = 'mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py'

model = dict(
    _delete_=True,
    type='mmdhp.Widened',
    architecture=_base_.model,
    factor=2,
    input_shape=(3, 224, 224),
)
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.LWDNA',
        target=dict(macs=0.989),
        input_shape=(3, 224, 224),
        min_channels=0.25,
        kinds=('weight', 'norm', 'act'),
    ),
)
custom_hooks = _base_.get('custom_hooks', []) + [
    dict(type='mmdhp.PruningHook')
]
