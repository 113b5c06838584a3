# The l2 row of the ablation; its λ is not published and is chosen here.
_base_ = './resnet56_dhp50.py'

optim_wrapper = dict(pruner=dict(regularizer='l2', regularization=None))
