_base_ = 'mmagic::esrgan/esrgan_psnr-x4c64b23g32_1xb16-1000k_div2k.py'
custom_imports = dict(imports=['mmdhp'], allow_failed_imports=False)

optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    pruner=dict(
        type='mmdhp.DHP', target=dict(macs=0.5), input_shape=(3, 32, 32)
    ),
)
custom_hooks = _base_.custom_hooks + [dict(type='mmdhp.PruningHook')]
