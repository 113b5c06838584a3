_base_ = '../srresnet/srresnet_x4_baseline.py'

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.OneShot', target=dict(macs=0.4), input_shape=(3, 64, 64)
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
# Trained by configs/srresnet/srresnet_x4_baseline.py.
load_from = 'work_dirs/srresnet_x4_baseline/iter_603900.pth'
