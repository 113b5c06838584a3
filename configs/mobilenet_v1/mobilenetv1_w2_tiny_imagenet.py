_base_ = './mobilenetv1_tiny_imagenet.py'

model = dict(backbone=dict(widen_factor=2), head=dict(in_channels=2048))
