_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdhp'], allow_failed_imports=False)

# Convs start from generated weights, so no stage or norm may be frozen.
model = dict(backbone=dict(init_cfg=None, frozen_stages=-1, norm_eval=False))
optim_wrapper = dict(
    type='mmdhp.PruningOptimWrapper',
    constructor='mmdhp.PruningOptimWrapperConstructor',
    clip_grad=dict(max_norm=35, norm_type=2),
    pruner=dict(
        type='mmdhp.DHP', target=dict(macs=0.5), input_shape=(3, 256, 256)
    ),
)
custom_hooks = [dict(type='mmdhp.PruningHook')]
