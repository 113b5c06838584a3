_base_ = './unet_dhp40.py'

optim_wrapper = dict(pruner=dict(target=dict(macs=0.60)))
