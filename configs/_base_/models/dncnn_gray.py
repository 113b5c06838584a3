# The paper trains on 0-255; like MMagic, this divides by 255.
model = dict(
    type='BaseEditModel',
    generator=dict(
        type='mmdhp.DnCNN', in_channels=1, mid_channels=64, num_blocks=15
    ),
    pixel_loss=dict(type='L1Loss', loss_weight=1.0, reduction='mean'),
    train_cfg=dict(),
    test_cfg=dict(),
    data_preprocessor=dict(
        type='DataPreprocessor',
        mean=[0.0],
        std=[255.0],
    ),
)
