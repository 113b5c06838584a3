"""The DiMP tracker as an MMEngine model."""

import time
from collections.abc import Sequence
from typing import Any, Optional

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmdhp.registry import MODELS

from .box_ops import xyxy_to_xywh

PROBE_SIZE = 64  # side in pixels of an image that tells the widths
STRIDES = (8, 16)  # pixels per cell of both feature maps, in the paper


@MODELS.register_module()
class DiMP(BaseModel):
    """Single-object tracker with a learned model predictor.

    A backbone that all images share, a head that learns a filter for the
    target at hand, and a head that refines boxes. Names and data flow are
    those of mmtrack 1.x.

    Source: Bhat et al., Learning Discriminative Model Prediction for
    Tracking, ICCV 2019, arXiv:1904.07220.

    Args:
        backbone (dict): Returns two feature maps, at the box head's
            ``feat_strides``: 8 and 16 in the paper.
        cls_head (dict): As :class:`DiMPClsHead`; without ``in_dim``, or with
            ``in_dim='auto'``, it takes the backbone's width.
        bbox_head (dict): As :class:`IoUNetHead`; ``in_dim`` likewise.
        tracker (dict, optional): The online tracker, needed for testing only.
            As :class:`OnlineDiMP`. Defaults to None.
        data_preprocessor (dict, optional): As
            :class:`TrackDataPreprocessor`.
        freeze_backbone (bool): Whether the backbone keeps its weights and the
            statistics of its norms. Defaults to False.
        init_cfg (dict | list[dict], optional): MMEngine initialisation.

    Attributes:
        memo (Any): What the online tracker remembers of the video at hand.

    Raises:
        ValueError: If the backbone does not return two feature maps of these
            strides, or the classification head expects another stride of
            the second one.
    """

    def __init__(
        self,
        backbone: dict,
        cls_head: dict,
        bbox_head: dict,
        tracker: Optional[dict] = None,
        data_preprocessor: Optional[dict] = None,
        freeze_backbone: bool = False,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = ROOT_MODELS.build(backbone)
        self.freeze_backbone = freeze_backbone
        if freeze_backbone:
            self.backbone.requires_grad_(False)
        strides = tuple(bbox_head.get('feat_strides', STRIDES))
        widths = feature_widths(self.backbone, strides)
        self.cls_head = ROOT_MODELS.build(_with_width(cls_head, widths[1]))
        self.bbox_head = ROOT_MODELS.build(_with_width(bbox_head, widths))
        _check_stride(self.cls_head, strides)
        self.tracker = None if tracker is None else ROOT_MODELS.build(tracker)
        self.memo: Any = None
        self._next: tuple[int, int] = (-1, -1)  # video and frame

    def train(self, mode: bool = True) -> 'DiMP':
        """Switch between training and testing; a frozen backbone tests."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    @property
    def classifier(self) -> nn.Module:
        """The name of ``cls_head`` in mmtrack."""
        return self.cls_head

    @property
    def bbox_regressor(self) -> nn.Module:
        """The name of ``bbox_head`` in mmtrack."""
        return self.bbox_head

    def forward(
        self,
        inputs: Any,
        data_samples: Optional[list] = None,
        mode: str = 'tensor',
    ) -> Any:
        """Dispatch by mode.

        Args:
            inputs (dict | Tensor): What :class:`TrackDataPreprocessor`
                returns; for ``'tensor'`` that of training, or crops, shape
                ``(N, 3, H, W)``.
            data_samples (list, optional): One per sequence.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.

        Raises:
            ValueError: If the mode is another one.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples or [])
        if mode == 'predict':
            return self.predict(inputs, data_samples or [])
        if mode == 'tensor':
            batch = isinstance(inputs, dict)
            return (self.features if batch else self.network)(inputs)
        raise ValueError(
            f"DiMP: mode is {mode!r}; there are 'loss', 'predict', 'tensor'."
        )

    def network(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run every trainable layer once per image.

        Every image is a sequence of its own, of which it is the training and
        the test image, with a target of a fifth of the image in its centre.
        This is what the channel graph and the count of MACs see.

        Args:
            images (Tensor): Shape ``(N, 3, H, W)``.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Scores of the first and of the last
            filter, ``(1, N, H', W')``, and the box's overlap, ``(N, 1)``.
        """
        height, width = images.shape[-2:]
        side = images.new_tensor([width, height, width, height])
        part = images.new_tensor([0.4, 0.4, 0.2, 0.2])
        boxes = (part * side).expand(len(images), 4)
        levels = self.backbone(images)
        features = self.cls_head.extract(levels[1])[None]
        filters = self.cls_head.filters(features, boxes[None])
        overlap = self.bbox_head.predict_iou(
            self.bbox_head.modulation(levels, boxes),
            self.bbox_head.test_features(levels),
            boxes[:, None],
        )
        first, last = (
            self.cls_head.score(features, filters[i]) for i in (0, -1)
        )
        return first, last, overlap

    def features(self, inputs: dict) -> list[tuple[Sequence[Tensor], Tensor]]:
        """Features of a batch of sequences.

        Args:
            inputs (dict): Crops, as for :meth:`loss`.

        Returns:
            list[tuple]: Of the training images, then of the test images: both
            levels of the backbone, ``(I · S, C, H, W)``, and the features of
            the classification head, ``(I, S, C, H, W)``.
        """
        found = []
        for key in ('img', 'search_img'):
            images = inputs[key].transpose(0, 1)  # (I, S, 3, H, W)
            levels = self.backbone(images.flatten(0, 1))
            features = self.cls_head.extract(levels[1])
            found.append((levels, features.unflatten(0, images.shape[:2])))
        return found

    def loss(self, inputs: dict, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of sequences.

        Args:
            inputs (dict): Crops of the training images (``'img'``) and of the
                test images (``'search_img'``), ``(S, I, 3, H, W)`` each.
            data_samples (list): Of every sequence; boxes ``x1, y1, x2, y2``
                in ``gt_instances`` and ``search_gt_instances``, ``(I, 4)``.

        Returns:
            dict[str, Tensor]: The losses by name.
        """
        boxes = _boxes_of(data_samples, 'gt_instances')
        search_boxes = _boxes_of(data_samples, 'search_gt_instances')
        (levels, features), (search_levels, search_features) = self.features(
            inputs
        )
        losses = self.cls_head.loss(
            (features, boxes), (search_features, search_boxes)
        )
        count = len(data_samples)
        reference = [level[:count] for level in levels]  # first image of each
        overlap = self.bbox_head.loss(
            (reference, boxes[0]), (search_levels, search_boxes)
        )
        return {**losses, **overlap}

    @torch.no_grad()
    def predict(self, inputs: dict, data_samples: list) -> list:
        """Track one frame; the first of a video starts anew.

        Args:
            inputs (dict): ``'img'``: one frame, shape ``(1, 1, 3, H, W)``.
            data_samples (list): One, with ``frame_id``, ``video_id`` and, in
                the first frame, the box in ``gt_instances``.

        Returns:
            list: The sample, with ``pred_track_instances``: ``bboxes`` of
            shape ``(1, 4)``, corners in pixels, and ``scores``, ``(1, )``.

        Raises:
            ValueError: If there is no tracker, there are several frames, or
                frames do not come in their order.
        """
        if self.tracker is None:
            raise ValueError(
                'DiMP: to test, the model needs a `tracker`; add '
                "tracker=dict(type='mmdhp.OnlineDiMP') to its config."
            )
        if len(data_samples) != 1:
            raise ValueError(
                f'DiMP tracks one frame at a time, but got a batch of '
                f'{len(data_samples)}; set batch_size=1 in the dataloader.'
            )
        sample = data_samples[0]
        self._check_order(sample)
        frame = inputs['img'][0][0]
        readable = not sample.get('unreadable', False)
        begin = time.perf_counter()
        if sample.frame_id == 0:
            box = xyxy_to_xywh(sample.gt_instances.bboxes[0]).tolist()
            self.memo = self.tracker.start(
                self,
                frame if readable else None,
                box,
                sample.video_id,
                sample.get('video_name', ''),
            )
            score = -1.0
        else:
            box, score = self.tracker.track(
                self, self.memo, frame if readable else None
            )
        sample.set_metainfo(dict(seconds=time.perf_counter() - begin))
        sample.pred_track_instances = self.tracker.instances(box, score)
        return [sample]

    def _check_order(self, sample: Any) -> None:
        found = (int(sample.video_id), int(sample.frame_id))
        if found[1] != 0 and found != self._next:
            raise ValueError(
                f'DiMP got frame {found[1]} of video {found[0]}, but expects '
                f'frame {max(self._next[1], 0)} of video {self._next[0]} or '
                'the first of another one; use '
                "sampler=dict(type='mmdhp.VideoSampler')."
            )
        self._next = (found[0], found[1] + 1)


def _with_width(cfg: dict, width: Any) -> dict:
    """A head's config with its input width filled in."""
    if cfg.get('in_dim', 'auto') == 'auto':
        return {**cfg, 'in_dim': width}
    return dict(cfg)


@torch.no_grad()
def feature_widths(
    backbone: nn.Module, strides: Sequence[int] = STRIDES
) -> tuple[int, int]:
    """Channels of both feature maps of a backbone, by running it.

    Args:
        backbone (Module): Returns two feature maps of an image.
        strides (Sequence[int]): Pixels per cell that they should have.
            Defaults to (8, 16).

    Raises:
        ValueError: If it does not return two maps of these strides.
    """
    parameter = next(backbone.parameters())
    image = parameter.new_zeros(1, 3, PROBE_SIZE, PROBE_SIZE)
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    try:
        maps = backbone(image)
    finally:
        for module, training in modes:
            module.training = training
    found = [tuple(x.shape[1:]) for x in maps]
    sizes = [shape[1:] for shape in found]
    if sizes != [(PROBE_SIZE // s, PROBE_SIZE // s) for s in strides]:
        raise ValueError(
            f'DiMP needs features at strides {" and ".join(map(str, strides))}'
            f' (feat_strides of bbox_head); for an image of '
            f'{PROBE_SIZE} pixels, {type(backbone).__name__} returns maps of '
            f'shapes {found}. For a ResNet and strides 8 and 16: '
            'num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), '
            'out_indices=(1, 2).'
        )
    return found[0][0], found[1][0]


def _check_stride(cls_head: Any, strides: Sequence[int]) -> None:
    """Both parts of the classification head read the second map.

    Raises:
        ValueError: If one is set to another stride.
    """
    found = {
        'filter_optimizer.feat_stride': cls_head.feat_stride,
        'filter_initializer.feature_stride': round(
            1 / cls_head.filter_initializer.pool.spatial_scale
        ),
    }
    wrong = {key: v for key, v in found.items() if v != strides[1]}
    if wrong:
        shown = ', '.join(f'{key}={v}' for key, v in wrong.items())
        raise ValueError(
            f'DiMP: cls_head has {shown}, but the feature map that it reads '
            f'has stride {strides[1]} (feat_strides[1] of bbox_head); set '
            'both to that.'
        )


def _boxes_of(data_samples: list, key: str) -> Tensor:
    """``x, y, w, h`` of all images of all sequences, ``(I, S, 4)``."""
    boxes = [getattr(sample, key).bboxes for sample in data_samples]
    return xyxy_to_xywh(torch.stack(boxes, 1))
