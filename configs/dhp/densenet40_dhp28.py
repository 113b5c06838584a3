_base_ = './densenet40_dhp38.py'

optim_wrapper = dict(pruner=dict(target=dict(macs=0.28)))
