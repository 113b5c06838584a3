# The authors meant the last conv to keep 40 % of its channels, but their code
# lets it shrink to 4 like all others, and so do the published results. Add
# floors={'backbone.conv2': 0.4} to the pruner for what they meant.
_base_ = [
    '../_base_/models/mobilenet_v2_tiny.py',
    '../_base_/datasets/tiny_imagenet_bs64.py',
    '../_base_/schedules/tiny_imagenet_220e_dhp.py',
    'mmpretrain::_base_/default_runtime.py',
]

optim_wrapper = dict(
    pruner=dict(
        target=dict(macs=0.5),
        regularization=1e-4,
        threshold=1e-3,
    )
)
