# LW-DNA of SRResNet: 87.75 % of the baseline's MACs, as in the paper.
_base_ = '../srresnet/srresnet_x4_baseline.py'

# The paper's upsampler keeps the channels of the residual path.
groups = [('generator.head.0', 'generator.upsampler.*')]

model = dict(
    _delete_=True,
    type='mmdhp.Widened',
    architecture=_base_.model,
    factor=2,
    input_shape=(3, 64, 64),
    groups=groups,
)
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.LWDNA',
        target=dict(macs=0.8775),
        input_shape=(3, 64, 64),
        min_channels=0.25,
        groups=groups,
        kinds=('weight', 'norm', 'act'),
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
