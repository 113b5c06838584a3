"""A pruned model: test or train it as any other.

Needs this folder, not mmdhp.
"""
import sys

sys.path.insert(0, '{{ fileDirname }}')

auto_scale_lr = dict(base_batch_size=64)
custom_hooks = []
custom_imports = dict(imports=[
    'pruned_architecture_cifar_resnet_cifar',
])
data_preprocessor = dict(
    mean=[
        125.3,
        123.0,
        113.9,
    ],
    num_classes=10,
    std=[
        63.0,
        62.1,
        66.7,
    ],
    to_rgb=False)
dataset_type = 'CIFAR10'
default_hooks = dict(
    checkpoint=dict(_scope_='mmpretrain', interval=1, type='CheckpointHook'),
    logger=dict(_scope_='mmpretrain', interval=100, type='LoggerHook'),
    param_scheduler=dict(_scope_='mmpretrain', type='ParamSchedulerHook'),
    sampler_seed=dict(_scope_='mmpretrain', type='DistSamplerSeedHook'),
    timer=dict(_scope_='mmpretrain', type='IterTimerHook'),
    visualization=dict(
        _scope_='mmpretrain', enable=False, type='VisualizationHook'))
default_scope = 'mmpretrain'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
log_level = 'INFO'
model = dict(
    architecture=dict(
        backbone=dict(depth=20, type='mmengine.CIFARResNet'),
        head=dict(
            in_channels=64,
            loss=dict(loss_weight=1.0, type='CrossEntropyLoss'),
            num_classes=10,
            type='LinearClsHead'),
        neck=dict(type='GlobalAveragePooling'),
        type='ImageClassifier'),
    backbone=dict(),
    type='mmengine.Pruned')
optim_wrapper = dict(
    optimizer=dict(lr=0.1, momentum=0.9, type='SGD', weight_decay=0.0001),
    type='OptimWrapper')
param_scheduler = [
    dict(by_epoch=True, gamma=0.1, milestones=[
        2,
        2,
    ], type='MultiStepLR'),
]
randomness = dict(seed=1)
test_cfg = dict()
test_dataloader = dict(
    batch_size=500,
    dataset=dict(
        _scope_='mmpretrain',
        data_root='data/cifar10/',
        pipeline=[
            dict(type='PackInputs'),
        ],
        split='test',
        type='mmengine.CIFAR10'),
    num_workers=2,
    sampler=dict(_scope_='mmpretrain', shuffle=False, type='DefaultSampler'))
test_evaluator = dict(_scope_='mmpretrain', topk=(1, ), type='Accuracy')
test_pipeline = [
    dict(_scope_='mmpretrain', type='PackInputs'),
]
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        _scope_='mmpretrain',
        data_root='data/cifar10',
        pipeline=[
            dict(crop_size=32, padding=4, type='RandomCrop'),
            dict(direction='horizontal', prob=0.5, type='RandomFlip'),
            dict(type='PackInputs'),
        ],
        split='train',
        type='mmengine.CIFAR10'),
    num_workers=2,
    sampler=dict(_scope_='mmpretrain', shuffle=True, type='DefaultSampler'))
train_pipeline = [
    dict(_scope_='mmpretrain', crop_size=32, padding=4, type='RandomCrop'),
    dict(
        _scope_='mmpretrain',
        direction='horizontal',
        prob=0.5,
        type='RandomFlip'),
    dict(_scope_='mmpretrain', type='PackInputs'),
]
val_cfg = dict()
val_dataloader = dict(
    batch_size=500,
    dataset=dict(
        _scope_='mmpretrain',
        data_root='data/cifar10/',
        pipeline=[
            dict(type='PackInputs'),
        ],
        split='test',
        type='mmengine.CIFAR10'),
    num_workers=2,
    sampler=dict(_scope_='mmpretrain', shuffle=False, type='DefaultSampler'))
val_evaluator = dict(_scope_='mmpretrain', topk=(1, ), type='Accuracy')
vis_backends = [
    dict(_scope_='mmpretrain', type='LocalVisBackend'),
]
visualizer = dict(
    _scope_='mmpretrain',
    type='UniversalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ])

model['channels'] = '{{ fileDirname }}/channels.json'
