# LW-DNA of UNet at the baseline's MACs; the paper denoises with DHP only.
_base_ = '../unet/unet_sigma70_baseline.py'

model = dict(
    _delete_=True,
    type='mmdhp.Widened',
    architecture=_base_.model,
    factor=2,
    input_shape=(1, 128, 128),
)
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.LWDNA',
        target=dict(macs=1.0),
        input_shape=(1, 128, 128),
        min_channels=0.25,
        kinds=('weight', 'norm', 'act'),
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
