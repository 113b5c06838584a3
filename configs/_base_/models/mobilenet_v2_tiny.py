model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmdhp.MobileNetV2', strides=(1, 1, 2, 2, 1, 2, 1)),
    neck=dict(type='mmdhp.PoolingDropout', dropout=0.2),
    head=dict(
        type='LinearClsHead',
        num_classes=200,
        in_channels=1280,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
