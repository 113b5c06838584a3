# LW-DNA of the whole tracker, in place, at the baseline's MACs. The paper
# plugs a ResNet-50 in that it found on ImageNet: see docs/tracking.md.
_base_ = '../tracking/dimp_r50.py'

architecture = _base_.model
architecture.backbone.init_cfg = None  # pretrained weights have other widths

model = dict(
    _delete_=True,
    type='mmdhp.Widened',
    architecture=architecture,
    factor=2,
    input_shape=(3, 288, 288),
)
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.LWDNA',
        target=dict(macs=1.0),
        input_shape=(3, 288, 288),
        min_channels=0.4,
        embedding_dim=2,
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
