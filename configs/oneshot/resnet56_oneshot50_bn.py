_base_ = './resnet56_oneshot50.py'

optim_wrapper = dict(pruner=dict(criterion='bn'))
