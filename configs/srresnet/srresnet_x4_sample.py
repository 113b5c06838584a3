_base_ = [
    '../_base_/mmagic_runtime.py',
    '../_base_/models/srresnet_x4.py',
    '../_base_/datasets/sample_x4.py',
    '../_base_/schedules/sr_sample.py',
]

# Half as deep as the paper's, for two CPU cores.
model = dict(generator=dict(num_blocks=8))
randomness = dict(seed=0)
