"""Still images as videos of one frame."""

import json
import os.path as osp
from collections.abc import Iterable
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from mmdhp.registry import DATASETS


@DATASETS.register_module()
class SOTCocoDataset(BaseDataset):
    """Every object of MS-COCO that is no crowd, for training.

    Args:
        data_root (str): Folder of the data set.
        ann_file (str): E.g. ``'annotations/instances_train2014.json'``.
        data_prefix (dict): ``img_path``: folder of the images.
        pipeline (list): Transforms.
        **kwargs: See :class:`mmengine.dataset.BaseDataset`.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        data_prefix: dict,
        pipeline: Iterable = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=dict(data_prefix),
            pipeline=list(pipeline),
            **kwargs,
        )

    @property
    def num_videos(self) -> int:
        """Number of objects."""
        return len(self)

    def load_data_list(self) -> list[dict]:
        """Find all objects."""
        with open(self.ann_file, encoding='utf-8') as file:
            content = json.load(file)
        names = {i['id']: i['file_name'] for i in content['images']}
        return [
            dict(name=names[a['image_id']], bbox=list(map(float, a['bbox'])))
            for a in content['annotations']
            if not a.get('iscrowd', 0) and min(a['bbox'][2:]) > 0
        ]

    def prepare_data(self, idx: int) -> Any:
        """Get an image through the pipeline, as a video of one frame."""
        info = self.get_data_info(idx)
        path = osp.join(self.data_prefix['img_path'], info['name'])
        return self.pipeline(
            dict(
                frame_path=lambda _: path,
                bboxes=np.array([info['bbox']]),
                visible=np.ones(1, dtype=bool),
                is_video=False,
                video_name=info['name'],
            )
        )
