"""What all data sets of single-object tracking share."""

import os.path as osp
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Optional, Union

import numpy as np
from mmengine.dataset import BaseDataset

from .annotation_files import count_images, read_lines, read_numbers

MAX_TRUTHS = 1000  # kept in memory, some tens of kB each


@dataclass(frozen=True)
class Video:
    """Where the frames and the boxes of a video are.

    Args:
        name (str): Name of the sequence.
        folder (str): Folder of its frames.
        ann_path (str): File of its boxes.
        template (str): Name of a frame, e.g. ``'{:08d}.jpg'``.
        start (int): Number of the first frame.
        length (int | None): Frames, if known.
    """

    name: str
    folder: str
    ann_path: str
    template: str
    start: int
    length: Optional[int] = None

    def frame_path(self, index: int) -> str:
        """Path of a frame, counted from 0."""
        return osp.join(self.folder, self.template.format(self.start + index))


@dataclass(frozen=True)
class Truth:
    """What is known about the target of a video.

    Args:
        bboxes (ndarray): ``x, y, w, h`` in pixels, shape ``(T, 4)``; NaN
            where nothing is known.
        visible (ndarray): Whether the target is to be seen, shape ``(T, )``.
    """

    bboxes: np.ndarray
    visible: np.ndarray


def has_area(bboxes: np.ndarray) -> np.ndarray:
    """Which boxes ``x, y, w, h`` are known and not empty, shape ``(T, )``."""
    return np.isfinite(bboxes).all(1) & (bboxes[:, 2:] > 0).all(1)


class BaseSOTDataset(BaseDataset):
    """Videos with one annotated object each.

    For training, an item is a video, from which :class:`DiMPSampling` draws
    frames. For testing, an item is a frame ``(video, frame)``, as
    :class:`VideoSampler` asks for them.

    Args:
        data_root (str): Folder of the data set.
        ann_file (str): Which videos; relative to ``data_root``. Either names
            of sequences, one a line, or mmtrack's ``*_infos.txt``: a header,
            then ``frames folder,annotation file,first,last`` a line. Defaults
            to ``''``: what the published layout says.
        data_prefix (dict): ``img_path``: what the paths of an infos file are
            relative to. Defaults to ``data_root`` itself.
        pipeline (list): Transforms.
        test_mode (bool): Whether items are frames. Defaults to False.
        name (str, optional): Of the data set, for reports. Defaults to that
            of the class.
        **kwargs: See :class:`mmengine.dataset.BaseDataset`.
    """

    template = '{:08d}.jpg'
    first_frame = 1

    def __init__(
        self,
        data_root: str,
        ann_file: str = '',
        data_prefix: Optional[dict] = None,
        pipeline: Iterable = (),
        test_mode: bool = False,
        *,
        name: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        self.name = name or type(self).__name__.replace('Dataset', '')
        self._truths: dict[int, Truth] = {}
        self._lengths: dict[int, int] = {}
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=dict(data_prefix or {'img_path': ''}),
            pipeline=list(pipeline),
            test_mode=test_mode,
            **kwargs,
        )

    @abstractmethod
    def video_of(self, name: str) -> Video:
        """Find a sequence in the published layout."""

    @abstractmethod
    def names(self) -> list[str]:
        """Sequences of the published layout, if no ``ann_file`` says so."""

    def load_truth(self, video: Video) -> Truth:
        """Read the annotations of a video."""
        bboxes = read_numbers(video.ann_path, 4)
        return Truth(bboxes, has_area(bboxes))

    def load_data_list(self) -> list[dict]:
        """Find all videos.

        Raises:
            FileNotFoundError: If ``ann_file`` does not exist.
            ValueError: If there is no video.
        """
        if self.ann_file:
            if not osp.isfile(self.ann_file):
                raise FileNotFoundError(
                    f'{type(self).__name__}: there is no ann_file '
                    f'{self.ann_file}, which should name the sequences.'
                )
            lines = read_lines(self.ann_file)
        else:
            lines = self.names()
        if any(line.count(',') >= 3 for line in lines):
            videos = [self._video_of_info(line) for line in lines[1:]]
        else:
            videos = [self.video_of(line) for line in lines]
        if not videos:
            raise ValueError(
                f'{type(self).__name__}: no sequences in {self.data_root}'
                f'{f" by {self.ann_file}" if self.ann_file else ""}.'
            )
        return [asdict(video) for video in videos]

    def _video_of_info(self, line: str) -> Video:
        """A line of mmtrack's ``*_infos.txt``."""
        folder, ann_path, first, last = (
            v.strip() for v in line.split(',')[:4]
        )
        root = self.data_prefix['img_path']
        folder = osp.join(root, folder)
        parts = osp.normpath(folder).split(osp.sep)
        return Video(
            parts[-2] if parts[-1] == 'img' else parts[-1],
            folder,
            osp.join(root, ann_path),
            self.template_of(folder),
            int(first),
            int(last) - int(first) + 1,
        )

    def template_of(self, folder: str) -> str:
        """How frames of a folder are named."""
        return self.template

    def get_video(self, index: int) -> Video:
        """The video of a number."""
        info = self.get_data_info(index)
        info.pop('sample_idx', None)
        return Video(**info)

    def get_truth(self, index: int) -> Truth:
        """The annotations of a video; the last ones read are kept."""
        if index not in self._truths:
            if len(self._truths) >= MAX_TRUTHS:
                self._truths.pop(next(iter(self._truths)))
            self._truths[index] = self.load_truth(self.get_video(index))
        return self._truths[index]

    def num_frames(self, index: int) -> int:
        """Frames of a video: as told, or else as many as there are files."""
        if index not in self._lengths:
            video = self.get_video(index)
            known = video.length is not None
            length = video.length if known else count_images(video.folder)
            self._lengths[index] = int(length or 0)
        return self._lengths[index]

    @property
    def num_videos(self) -> int:
        """Number of videos."""
        return super().__len__()

    def prepare_data(self, idx: Any) -> Any:
        """Get a video (training) or a frame (testing) through the pipeline.

        Args:
            idx (int | tuple[int, int]): Video, or video and frame.
        """
        if self.test_mode:
            return self.pipeline(self._frame_info(*idx))
        video, truth = self.get_video(idx), self.get_truth(idx)
        return self.pipeline(
            dict(
                frame_path=video.frame_path,
                bboxes=truth.bboxes,
                visible=truth.visible,
                is_video=True,
                video_name=video.name,
            )
        )

    def _frame_info(self, index: int, frame: int) -> dict:
        """What a test pipeline starts from."""
        video, truth = self.get_video(index), self.get_truth(index)
        known = frame < len(truth.bboxes)
        unknown = np.full(4, np.nan)
        return dict(
            img_paths=[video.frame_path(frame)],
            bboxes=(truth.bboxes[frame] if known else unknown)[None],
            visible=bool(truth.visible[frame]) if known else False,
            frame_id=frame,
            video_id=index,
            video_length=self.num_frames(index),
            video_name=video.name,
            dataset_name=self.name,
        )

    def __getitem__(self, idx: Union[int, tuple[int, int]]) -> Any:
        """An item; in training, another one where a video is unsuited.

        Raises:
            TypeError: If a test is asked for anything but (video, frame).
        """
        if self.test_mode and not isinstance(idx, tuple):
            raise TypeError(
                f'{type(self).__name__} was asked for item {idx!r}, but in '
                'test mode items are (video, frame); use '
                "sampler=dict(type='mmdhp.VideoSampler')."
            )
        return super().__getitem__(idx)
