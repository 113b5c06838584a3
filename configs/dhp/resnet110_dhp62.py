# λ of this row is not published; it is chosen from the search length.
_base_ = './resnet110_dhp50.py'

optim_wrapper = dict(pruner=dict(target=dict(macs=0.62), regularization=None))
