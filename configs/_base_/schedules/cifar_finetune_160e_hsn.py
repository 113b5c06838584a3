# The paper's fine-tuning: 160 epochs, momentum 0.8 as printed.
_base_ = './cifar_300e.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    optimizer=dict(momentum=0.8),
    pruner=dict(
        type='mmdhp.HSN',
        target=dict(macs=0.5),
        input_shape=(3, 32, 32),
        regularization=4.0,
        gates='inner',  # first convs of blocks and expansions
        scope='gated',
    ),
)
param_scheduler = dict(milestones=[80, 120])
train_cfg = dict(max_epochs=160, val_interval=10)
auto_scale_lr = dict(base_batch_size=128)
