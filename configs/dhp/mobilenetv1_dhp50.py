_base_ = [
    '../_base_/models/mobilenet_v1_tiny.py',
    '../_base_/datasets/tiny_imagenet_bs64.py',
    '../_base_/schedules/tiny_imagenet_220e_dhp.py',
    'mmpretrain::_base_/default_runtime.py',
]

optim_wrapper = dict(
    pruner=dict(
        target=dict(macs=0.5),
        regularization=5e-5,
        threshold=2e-3,
        # The classifier keeps this much of its input.
        floors={'backbone.blocks.12.1.0': 0.4},
    )
)
