model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmdhp.CIFARDenseNet', depth=40, growth_rate=12),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=456,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
