_base_ = './edsr_mmagic_dhp50.py'

optim_wrapper = dict(pruner=dict(target=dict(macs=0.60)))
