model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmdhp.MobileNetV2',
        strides=(1, 1, 1, 2, 1, 2, 1),
        stem_stride=1,
        act_cfg=dict(type='ReLU'),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=1280,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
