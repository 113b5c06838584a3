# LW-DNA of RegNetX-4GF: 95.5 % of the baseline's MACs, as in the paper.
_base_ = 'mmpretrain::regnet/regnetx-4.0gf_8xb64_in1k.py'

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
        target=dict(macs=0.955),
        input_shape=(3, 224, 224),
        min_channels=0.4,
        classifier_floor=0.45,
        embedding_dim=2,
        kinds=('weight', 'norm', 'act'),
    ),
)
custom_hooks = _base_.get('custom_hooks', []) + [
    dict(type='mmdhp.PruningHook')
]
