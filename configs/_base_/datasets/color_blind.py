# Colour images, each with a noise level of its own (a blind network).
_base_ = './gray_sigma70.py'

load_clean = dict(
    type='LoadImageFromFile',
    key='gt',
    color_type='color',
    channel_order='rgb',
    imdecode_backend='cv2',
)
train_noise = dict(type='mmdhp.AddGaussianNoise', sigma=(0, 55))
test_noise = dict(type='mmdhp.AddGaussianNoise', sigma=25, seed=0)

train_pipeline = [load_clean, *_base_.train_pipeline[1:-2]]
train_pipeline += [train_noise, dict(type='PackInputs')]
test_pipeline = [load_clean, test_noise, dict(type='PackInputs')]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
bsd68_dataloader = dict(
    _base_.bsd68_dataloader,
    dataset=dict(
        _base_.bsd68_dataloader.dataset,
        data_root='data/denoise/CBSD68',
        pipeline=test_pipeline,
    ),
)
bsd68_evaluator = dict(
    type='Evaluator',
    metrics=[dict(m, prefix='CBSD68') for m in _base_.bsd68_evaluator.metrics],
)
val_dataloader = dict(_delete_=True, **bsd68_dataloader)
test_dataloader = [bsd68_dataloader]
test_evaluator = [bsd68_evaluator]
