model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmdhp.MobileNetV1'),
    neck=dict(type='mmdhp.PoolingDropout', dropout=0.2),
    head=dict(
        type='LinearClsHead',
        num_classes=200,
        in_channels=1024,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
