# As div2k_x4.py, from databases: prepare_subimages.py --div2k FOLDER --lmdb
_base_ = './div2k_x4.py'

data_root = 'data/DIV2K'
high = 'DIV2K_train_HR_sub.lmdb'
low = 'DIV2K_train_LR_bicubic/X4_sub.lmdb'
train_pipeline = [
    dict(
        _base_.train_pipeline[0],
        backend_args=dict(backend='lmdb', db_path=f'{data_root}/{low}'),
    ),
    dict(
        _base_.train_pipeline[1],
        backend_args=dict(backend='lmdb', db_path=f'{data_root}/{high}'),
    ),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        data_prefix=dict(img=low, gt=high),
        pipeline=train_pipeline,
    )
)
