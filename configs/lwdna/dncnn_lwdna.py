# LW-DNA of DnCNN at the baseline's MACs; the paper denoises with DHP only.
_base_ = '../dncnn/dncnn_sigma70_baseline.py'

model = dict(
    _delete_=True,
    type='mmdhp.Widened',
    architecture=_base_.model,
    factor=2,
    input_shape=(1, 64, 64),
)
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.LWDNA',
        target=dict(macs=1.0),
        input_shape=(1, 64, 64),
        min_channels=0.25,
        kinds=('weight', 'norm', 'act'),
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
