"""From paths to images, and from images to what a model takes."""

import logging
from typing import Optional

import cv2
import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from mmdhp.registry import TRANSFORMS

META = ('frame_id', 'video_id', 'video_length', 'video_name', 'dataset_name')


class TrackDataSample(BaseDataElement):
    """What belongs to the images of one sequence.

    ``gt_instances`` and ``search_gt_instances`` hold true ``bboxes``, corners
    in pixels, of training and test frames; ``pred_track_instances`` holds the
    ``bboxes`` and ``scores`` that a tracker found.
    """


@TRANSFORMS.register_module()
class LoadTrackImages:
    """Reads the frames of ``img_paths``.

    An unreadable frame makes a training sample unsuited, so that another one
    is drawn. In a test, the tracker is told that the frame is missing.
    """

    def __call__(self, results: dict) -> Optional[dict]:
        """Add ``imgs``, BGR; None instead of images that are unreadable."""
        testing = 'frame_id' in results
        images: dict[str, Optional[np.ndarray]] = {}
        for path in results['img_paths']:
            if path in images:
                continue
            images[path] = cv2.imread(path, cv2.IMREAD_COLOR)
            if images[path] is None:
                print_log(
                    f'Frame {path} cannot be read; '
                    + (
                        'the tracker keeps its box there.'
                        if testing
                        else 'another sample is drawn.'
                    ),
                    logger='current',
                    level=logging.WARNING,
                )
                if not testing:
                    return None
        results['imgs'] = [images[path] for path in results['img_paths']]
        return results


@TRANSFORMS.register_module()
class PackTrackInputs:
    """Makes tensors and a data sample of one sequence, or of one frame."""

    def __call__(self, results: dict) -> dict:
        """Pack.

        Returns:
            dict: ``inputs`` with ``'img'`` and, in training,
            ``'search_img'``, shape ``(T, 3, H, W)``, and ``data_samples``.
        """
        boxes = torch.as_tensor(results['bboxes'], dtype=torch.float32)
        boxes = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        images = results['imgs']
        if 'frame_id' in results:
            return self._pack_frame(results, images[0], boxes)
        count = results['num_template_frames']
        sample = TrackDataSample(
            metainfo=dict(video_name=results['video_name'])
        )
        sample.gt_instances = InstanceData(bboxes=boxes[:count])
        sample.search_gt_instances = InstanceData(bboxes=boxes[count:])
        inputs = {
            'img': _to_tensor(images[:count]),
            'search_img': _to_tensor(images[count:]),
        }
        return dict(inputs=inputs, data_samples=sample)

    def _pack_frame(
        self, results: dict, image: Optional[np.ndarray], boxes: Tensor
    ) -> dict:
        readable = image is not None
        facts = {key: results[key] for key in META}
        sample = TrackDataSample(
            metainfo=dict(
                **facts,
                visible=results['visible'],
                unreadable=not readable,
                img_path=results['img_paths'][0],
                ori_shape=image.shape[:2] if image is not None else (0, 0),
            )
        )
        sample.gt_instances = InstanceData(bboxes=boxes)
        frame = image if image is not None else np.zeros((1, 1, 3), np.uint8)
        return dict(inputs={'img': _to_tensor([frame])}, data_samples=sample)


def _to_tensor(images: list[np.ndarray]) -> Tensor:
    """Images ``(H, W, 3)`` to ``(T, 3, H, W)``."""
    stacked = np.stack([image.transpose(2, 0, 1) for image in images])
    return torch.from_numpy(np.ascontiguousarray(stacked))
