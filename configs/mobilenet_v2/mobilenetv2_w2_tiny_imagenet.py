_base_ = './mobilenetv2_tiny_imagenet.py'

model = dict(backbone=dict(widen_factor=2), head=dict(in_channels=2560))
