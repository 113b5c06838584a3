"""DiMP in a video: learn a filter, locate, refine, remember, learn on.

Source: Bhat et al., Learning Discriminative Model Prediction for Tracking
(DiMP), ICCV 2019, arXiv:1904.07220, with the settings of its code.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any, Callable, Optional

import torch
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from torch import Tensor

from mmdhp.registry import MODELS

from .box_refinement import BoxRefinement
from .frame_crops import Crop, cut
from .init_samples import InitAugmentation
from .localization import (
    HARD_NEGATIVE,
    NORMAL,
    NOT_FOUND,
    Localizer,
    Location,
)
from .sample_memory import SampleMemory
from .scale_search import ScaleSearch, View
from .track_state import UNREADABLE, TrackState, UpdateSchedule, check_box


@MODELS.register_module()
class OnlineDiMP:
    """Tracks one target through a video with the networks of a DiMP model.

    Args:
        img_sample_size (int): Side of the crops in pixels. Defaults to 288.
        search_scale_factor (float): Side of the crops as a multiple of the
            root of the target's area. Defaults to 5.0.
        bbox_inside_ratio (float): Fraction of the box that stays inside of
            the frame. Defaults to 0.2.
        locate_cfg (dict, optional): Arguments of :class:`Localizer`.
        scale_cfg (dict, optional): Arguments of :class:`ScaleSearch`.
        update_cfg (dict, optional): Arguments of :class:`UpdateSchedule`.
        bbox_cfg (dict, optional): Arguments of :class:`BoxRefinement`.
        init_aug_cfg (dict, optional): Arguments of
            :class:`InitAugmentation`.
        seed (int): Of the random boxes and views; a video gets the same
            numbers in any order of videos. Defaults to 0.
    """

    def __init__(
        self,
        img_sample_size: int = 288,
        search_scale_factor: float = 5.0,
        bbox_inside_ratio: float = 0.2,
        *,
        locate_cfg: Optional[dict] = None,
        scale_cfg: Optional[dict] = None,
        update_cfg: Optional[dict] = None,
        bbox_cfg: Optional[dict] = None,
        init_aug_cfg: Optional[dict] = None,
        seed: int = 0,
    ) -> None:
        self.size = img_sample_size
        self.search_scale_factor = search_scale_factor
        self.inside = bbox_inside_ratio
        self.localize = Localizer(**(locate_cfg or {}))
        self.scales = ScaleSearch(**(scale_cfg or {}))
        self.schedule = UpdateSchedule(**(update_cfg or {}))
        self.refine = BoxRefinement(**(bbox_cfg or {}))
        self.augmentation = InitAugmentation(**(init_aug_cfg or {}))
        self.seed = seed

    @torch.no_grad()
    def start(
        self,
        model: Any,
        frame: Optional[Tensor],
        box: Sequence[float],
        video_id: int = 0,
        name: str = '',
    ) -> TrackState:
        """Learn what the target looks like.

        Args:
            model (DiMP): The networks, in eval mode.
            frame (Tensor | None): Normalised, shape ``(3, H, W)``; None if it
                is unreadable: the target is then taken from the first frame
                that can be read.
            box (Sequence[float]): ``x, y, w, h`` in pixels.
            video_id (int): Numbers the videos of a test. Defaults to 0.
            name (str): Of the video, for messages. Defaults to ``''``.

        Returns:
            TrackState: To be passed to :meth:`track`.

        Raises:
            ValueError: If the box is empty, not finite or outside of the
                frame.
        """
        box = [float(v) for v in box]
        check_box(box, None if frame is None else frame.shape[1:], name)
        generator = torch.Generator().manual_seed(
            (self.seed << 20) + int(video_id)
        )
        state = TrackState(box, generator, name)
        if frame is None:
            state.flag = UNREADABLE
            return state
        self._learn(model, state, frame)
        return state

    @torch.no_grad()
    def track(
        self, model: Any, state: TrackState, frame: Optional[Tensor]
    ) -> tuple[list[float], float]:
        """Find the target in the next frame; the state is changed in place.

        Args:
            model (DiMP): The networks, in eval mode.
            state (TrackState): From :meth:`start`.
            frame (Tensor | None): Normalised, shape ``(3, H, W)``; None if it
                is unreadable: the box stays.

        Returns:
            tuple: The box ``x, y, w, h`` in pixels, and the score; 0 for
            frames that are unreadable.
        """
        state.frame += 1
        if frame is None:
            state.flag = UNREADABLE
            return list(state.box), 0.0
        if state.filters is None:
            print_log(
                f'{state.name or "video"}: the first frames were unreadable; '
                f'the target is learned from frame {state.frame}.',
                logger='current',
                level=logging.WARNING,
            )
            check_box(state.box, frame.shape[1:], state.name)
            self._learn(model, state, frame)
            return list(state.box), 0.0
        view = self._look(model, state, frame)
        score = view.location.score
        state.flag = view.location.flag
        if state.flag == NOT_FOUND:
            return list(state.box), score
        self._move(state, view, frame.shape[1:])
        self._refine(model, state, view)
        self._update(model, state, view)
        return list(state.box), score

    def instances(self, box: Sequence[float], score: float) -> InstanceData:
        """A result as ``bboxes``, corners ``(1, 4)``, and ``scores``."""
        x, y, width, height = box
        return InstanceData(
            bboxes=torch.tensor([[x, y, x + width, y + height]]),
            scores=torch.tensor([score]),
        )

    def crop(self, state: TrackState) -> Crop:
        """Where the target is looked for."""
        side = math.sqrt(state.box[2] * state.box[3])
        scale = self.search_scale_factor * side / self.size
        return Crop(state.center, scale, self.size)

    def _learn(self, model: Any, state: TrackState, frame: Tensor) -> None:
        """Fill memory, filter and modulation from the first frame."""
        crop = self.crop(state)
        images, boxes = self.augmentation.views(
            frame, crop, crop.box_to_crop(state.box), state.generator
        )
        levels = model.backbone(images)
        features = model.cls_head.extract(levels[1])
        dropped = self.augmentation.dropped(features[:1], state.generator)
        features = torch.cat([features, dropped])
        boxes = torch.cat([boxes, boxes[:1].expand(len(dropped), 4)])
        state.memory = SampleMemory(
            features,
            boxes,
            self.schedule.sample_memory_size,
            self.schedule.init_samples_min_weight,
        )
        state.filters = model.cls_head.filter_initializer(
            features[:, None], boxes[:, None]
        )
        self._improve(model, state, self.schedule.init_update_iters)
        state.modulation = model.bbox_head.modulation(
            [level[:1] for level in levels], boxes[:1]
        )

    def _improve(self, model: Any, state: TrackState, count: int) -> None:
        if not count or state.memory is None:
            return
        features, boxes, weights = state.memory.stored()
        state.filters = model.cls_head.filter_optimizer(
            state.filters,
            features[:, None],
            boxes[:, None],
            sample_weight=weights[:, None],
            num_iters=count,
        )[-1]

    def _look(self, model: Any, state: TrackState, frame: Tensor) -> View:
        """Score crops of all sizes, and read the scores of the best one."""
        crops = self.scales.crops(self.crop(state))
        levels = model.backbone(torch.cat([cut(frame, c) for c in crops]))
        features = model.cls_head.extract(levels[1])
        scores = model.cls_head.score(features[:, None], state.filters)[:, 0]
        best = self._best_size(model, levels[1], scores)
        size = state.box[2:]
        stride = model.cls_head.feat_stride * self.crop(state).scale
        found = self.localize(
            scores[best].float().cpu(), [n / stride for n in size]
        )
        if found.flag == NORMAL:
            size = self.scales.resized(size, best, frame.shape[1:])
        x, y = (v * model.cls_head.feat_stride for v in found.shift)
        part = slice(best, best + 1)
        return View(
            crops[best],
            [level[part] for level in levels],
            features[part],
            Location(found.flag, (x, y), found.score),
            size,
        )

    def _best_size(self, model: Any, level: Tensor, scores: Tensor) -> int:
        """Number of the best crop, with the norm of one for the scores of all.

        Features are divided by the root mean square of their crop. A larger
        crop that adds flat surroundings would raise the target's scores.
        """
        if len(scores) == 1:
            return 0
        norms = model.cls_head.feat_conv(level).flatten(1).norm(dim=1)
        return self.scales.best(scores * norms[:, None, None])

    def _move(
        self, state: TrackState, view: View, frame_size: Sequence[int]
    ) -> None:
        """Put the box around the peak; a part of it stays in the frame."""
        limits = (frame_size[1], frame_size[0])
        box = []
        for center, shift, side, limit in zip(
            view.crop.center, view.location.shift, view.size, limits
        ):
            reach = (self.inside - 0.5) * side
            moved = center + shift * view.crop.scale
            moved = max(min(moved, limit - reach), reach)
            box.append(moved - side / 2)
        state.box = [*box, *view.size]

    def _refine(self, model: Any, state: TrackState, view: View) -> None:
        if not self.refine.enabled:
            return
        features = model.bbox_head.test_features(view.levels)
        box = view.features.new_tensor(view.crop.box_to_crop(state.box))
        refined = self.refine(
            _predictor(model.bbox_head, state.modulation, features),
            box,
            state.generator,
        )
        if refined is not None:
            state.box = view.crop.box_to_frame(refined.tolist())

    def _update(self, model: Any, state: TrackState, view: View) -> None:
        """Store the frame and improve the filter, where that is due."""
        if state.flag not in (NORMAL, HARD_NEGATIVE) or state.memory is None:
            return
        hard = state.flag == HARD_NEGATIVE
        rate = self.schedule.hard_neg_lr if hard else self.schedule.normal_lr
        box = view.features.new_tensor(view.crop.box_to_crop(state.box))
        state.memory.insert(view.features[0], box, rate)
        count = self.schedule.iterations(state.flag, state.frame)
        self._improve(model, state, count)


def _predictor(
    head: Any, modulation: Any, features: Any
) -> Callable[[Tensor], Tensor]:
    return lambda boxes: head.predict_iou(modulation, features, boxes)
