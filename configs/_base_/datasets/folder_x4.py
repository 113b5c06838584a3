# Pairs of any folder of images, made by
# tools/dataset_converters/prepare_subimages.py FOLDER data/train_x4 --scale 4
_base_ = './div2k_x4.py'

train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='mmdhp.ImageFolder',
        data_root='data/train_x4',
        data_prefix=dict(gt='HR', img='LR_bicubic_X4'),
        pipeline=_base_.train_pipeline,
    ),
)
