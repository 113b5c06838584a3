_base_ = './mobilenetv2_dhp50.py'

optim_wrapper = dict(pruner=dict(target=dict(macs=0.3)))
