_base_ = './cifar_300e.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    optimizer=dict(lr=0.01),
    pruner=dict(
        type='mmdhp.OneShot',
        target=dict(macs=0.5),
        input_shape=(3, 32, 32),
        criterion='l1',
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]

param_scheduler = dict(milestones=[20, 30])
train_cfg = dict(max_epochs=40)
