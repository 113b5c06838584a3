# LW-DNA of the small tracker on generated videos, at the baseline's MACs.
_base_ = '../tracking/dimp_toy.py'

model = dict(
    _delete_=True,
    type='mmdhp.Widened',
    architecture=_base_.model,
    factor=2,
    input_shape=(3, 128, 128),
)
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.LWDNA', target=dict(macs=1.0), input_shape=(3, 128, 128)
    ),
)
custom_hooks = [
    dict(type='mmdhp.PruningHook', interval=20, search=dict(max_iters=40))
]
