# The paper to the letter: its rule for the layer-wise scales, one draw.
_base_ = './resnet56_hsn50.py'

optim_wrapper = dict(
    pruner=dict(scaling='paper', scaling_bounds=None, decision='sample')
)
