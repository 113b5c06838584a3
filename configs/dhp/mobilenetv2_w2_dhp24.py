# 24 % of the network of twice the width is about all of the ordinary one.
_base_ = './mobilenetv2_dhp50.py'

model = dict(backbone=dict(widen_factor=2), head=dict(in_channels=2560))
optim_wrapper = dict(pruner=dict(target=dict(macs=0.24), threshold=5e-3))
