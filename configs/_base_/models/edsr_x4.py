# The paper trains on 0-255; like MMagic, this divides by 255.
model = dict(
    type='BaseEditModel',
    generator=dict(
        type='mmdhp.EDSR',
        in_channels=3,
        out_channels=3,
        mid_channels=128,
        num_blocks=8,
        upscale_factor=4,
        res_scale=1.0,
        rgb_mean=[0.4488, 0.4371, 0.4040],
        rgb_range=1.0,
    ),
    pixel_loss=dict(type='L1Loss', loss_weight=1.0, reduction='mean'),
    train_cfg=dict(),
    test_cfg=dict(),
    data_preprocessor=dict(
        type='DataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
    ),
)
