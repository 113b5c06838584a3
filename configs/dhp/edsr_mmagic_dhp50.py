_base_ = 'mmagic::edsr/edsr_x4c64b16_1xb16-300k_div2k.py'
custom_imports = dict(imports=['mmdhp'], allow_failed_imports=False)

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP', target=dict(macs=0.5), input_shape=(3, 49, 49)
    ),
)
custom_hooks = _base_.custom_hooks + [dict(type='mmdhp.PruningHook')]
