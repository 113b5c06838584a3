"""LaSOT, TrackingNet, GOT-10k and OTB-100 in their published layouts."""

import os
import os.path as osp
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdhp.registry import DATASETS

from .annotation_files import (
    list_images,
    read_flags,
    read_lines,
    read_numbers,
)
from .sot_base import BaseSOTDataset, Truth, Video, has_area


def subfolders(folder: str) -> list[str]:
    """Names of the folders in a folder, sorted; none if it is missing."""
    if not osp.isdir(folder):
        return []
    return sorted(e.name for e in os.scandir(folder) if e.is_dir())


@DATASETS.register_module()
class LaSOTDataset(BaseSOTDataset):
    """LaSOT: ``CLASS/CLASS-N/{img/%08d.jpg, groundtruth.txt, ...}``.

    A target that is fully occluded or out of view is not visible. The
    benchmark's ``training_set.txt`` and ``testing_set.txt`` serve as
    ``ann_file``; without one, all sequences are used.

    Source: Fan et al., LaSOT, CVPR 2019, arXiv:1809.07845.

    Args:
        *args: See :class:`BaseSOTDataset`.
        **kwargs: See :class:`BaseSOTDataset`.
    """

    def names(self) -> list[str]:
        """All sequences."""
        return [
            name
            for kind in subfolders(self.data_root)
            for name in subfolders(osp.join(self.data_root, kind))
            if osp.isfile(
                osp.join(self.data_root, kind, name, 'groundtruth.txt')
            )
        ]

    def video_of(self, name: str) -> Video:
        """Find a sequence."""
        kind = name.rpartition('-')[0]
        root = osp.join(self.data_root, kind, name)
        return Video(
            name,
            osp.join(root, 'img'),
            osp.join(root, 'groundtruth.txt'),
            self.template,
            self.first_frame,
        )

    def load_truth(self, video: Video) -> Truth:
        """Boxes; visible unless occluded or out of view."""
        bboxes = read_numbers(video.ann_path, 4)
        visible = has_area(bboxes)
        for name in ('full_occlusion.txt', 'out_of_view.txt'):
            path = osp.join(osp.dirname(video.ann_path), name)
            flags = read_flags(path)
            if len(flags) != len(bboxes):
                raise ValueError(
                    f'{path} has {len(flags)} flags, but '
                    f'{video.ann_path} has {len(bboxes)} boxes.'
                )
            visible &= flags == 0
        return Truth(bboxes, visible)


@DATASETS.register_module()
class TrackingNetDataset(BaseSOTDataset):
    """TrackingNet: ``TRAIN_N/{frames/ID/%d.jpg, anno/ID.txt}`` and ``TEST``.

    Frames are counted from 0. The test set has the box of the first frame
    only; its results go to the server.

    Source: Mueller et al., TrackingNet, ECCV 2018, arXiv:1803.10794.

    Args:
        *args: See :class:`BaseSOTDataset`.
        chunks (Sequence[str]): Folders to use. Defaults to ``('TEST', )`` in
            test mode, else to the twelve ``TRAIN_N``.
        **kwargs: See :class:`BaseSOTDataset`.
    """

    template = '{:d}.jpg'
    first_frame = 0

    def __init__(
        self, *args: Any, chunks: Sequence[str] = (), **kwargs: Any
    ) -> None:
        test_mode = kwargs.get('test_mode', False)
        default = ['TEST'] if test_mode else [f'TRAIN_{i}' for i in range(12)]
        self.chunks = list(chunks) or default
        super().__init__(*args, **kwargs)

    def names(self) -> list[str]:
        """``CHUNK/ID`` of every annotation file of the chunks."""
        found = []
        for chunk in self.chunks:
            folder = osp.join(self.data_root, chunk, 'anno')
            if not osp.isdir(folder):
                raise FileNotFoundError(
                    f'TrackingNetDataset: there is no {folder}; set `chunks` '
                    'to those that you have.'
                )
            files = sorted(f for f in os.listdir(folder) if f.endswith('.txt'))
            found += [f'{chunk}/{f[:-4]}' for f in files]
        return found

    def video_of(self, name: str) -> Video:
        """Find a sequence by ``CHUNK/ID``."""
        chunk, _, stem = name.rpartition('/')
        root = osp.join(self.data_root, chunk)
        return Video(
            stem,
            osp.join(root, 'frames', stem),
            osp.join(root, 'anno', f'{stem}.txt'),
            self.template,
            self.first_frame,
        )


@DATASETS.register_module()
class GOT10kDataset(BaseSOTDataset):
    """GOT-10k: ``SPLIT/{list.txt, NAME/{%08d.jpg, groundtruth.txt, ...}}``.

    A target that is absent or fully covered is not visible. The test split
    has the box of the first frame only; its results go to the server.

    Source: Huang et al., GOT-10k, TPAMI 2019, arXiv:1810.11981.

    Args:
        *args: See :class:`BaseSOTDataset`. ``data_root`` is the folder of the
            split; ``ann_file`` defaults to its ``list.txt``.
        **kwargs: See :class:`BaseSOTDataset`.
    """

    def names(self) -> list[str]:
        """Sequences of ``list.txt``."""
        path = osp.join(self.data_root, 'list.txt')
        if not osp.isfile(path):
            raise FileNotFoundError(
                f'GOT10kDataset: there is no {path}; set data_root to the '
                'folder of a split (train, val or test).'
            )
        return read_lines(path)

    def video_of(self, name: str) -> Video:
        """Find a sequence."""
        folder = osp.join(self.data_root, name)
        return Video(
            name,
            folder,
            osp.join(folder, 'groundtruth.txt'),
            self.template,
            self.first_frame,
        )

    def load_truth(self, video: Video) -> Truth:
        """Boxes; visible unless absent or covered, where that is known."""
        bboxes = read_numbers(video.ann_path, 4)
        visible = has_area(bboxes)
        for name, visible_if in (
            ('absence.label', lambda flags: flags == 0),
            ('cover.label', lambda flags: flags > 0),
        ):
            path = osp.join(osp.dirname(video.ann_path), name)
            if not osp.isfile(path) and len(bboxes) == 1:
                continue  # the test split
            flags = read_flags(path)
            if len(flags) != len(bboxes):
                raise ValueError(
                    f'{path} has {len(flags)} labels, but '
                    f'{video.ann_path} has {len(bboxes)} boxes.'
                )
            visible &= visible_if(flags)
        return Truth(bboxes, visible)


# Name → first frame, of the sequences that do not start at 1.
OTB_FIRST_FRAMES = {'David': 300, 'BlurCar1': 247, 'BlurCar3': 3}
OTB_FIRST_FRAMES.update({'BlurCar4': 18})
# Name → boxes in front of the first frame that is evaluated.
OTB_SKIPPED = {'Tiger1': 5}


@DATASETS.register_module()
class OTB100Dataset(BaseSOTDataset):
    """OTB-100: ``NAME/{img/%04d.jpg, groundtruth_rect*.txt}``.

    A sequence with several annotation files has several targets; they are
    named ``Jogging.1``, ``Jogging.2``. Boxes are used as they are in the
    files, which count pixels from 1, as published tools do.

    Source: Wu et al., Object Tracking Benchmark, TPAMI 2015.

    Args:
        *args: See :class:`BaseSOTDataset`.
        **kwargs: See :class:`BaseSOTDataset`.
    """

    template = '{:04d}.jpg'
    annotation = re.compile(r'groundtruth_rect(?:\.(\d+))?\.txt')

    def names(self) -> list[str]:
        """All targets of all sequences."""
        found = []
        for name in subfolders(self.data_root):
            for file in sorted(os.listdir(osp.join(self.data_root, name))):
                match = self.annotation.fullmatch(file)
                path = osp.join(self.data_root, name, file)
                if match and osp.getsize(path):
                    target = f'.{match[1]}' if match[1] else ''
                    found.append(f'{name}{target}')
        return found

    def video_of(self, name: str) -> Video:
        """Find a target by ``NAME`` or ``NAME.N``."""
        stem, _, target = name.partition('.')
        root = osp.join(self.data_root, stem)
        file = f'groundtruth_rect{f".{target}" if target else ""}.txt'
        ann_path = osp.join(root, file)
        folder = osp.join(root, 'img')
        skipped = OTB_SKIPPED.get(stem, 0)
        first = OTB_FIRST_FRAMES.get(stem, self.first_frame)
        return Video(
            name,
            folder,
            ann_path,
            self.template_of(folder),
            first + skipped,
            len(read_numbers(ann_path, 4)) - skipped,
        )

    def template_of(self, folder: str) -> str:
        """As many digits as the first frame has, and its suffix."""
        frames = list_images(folder)
        if not frames:
            raise ValueError(f'{folder} holds no images.')
        stem, suffix = osp.splitext(frames[0])
        return f'{{:0{len(stem)}d}}{suffix}'

    def load_truth(self, video: Video) -> Truth:
        """Boxes of the frames that are evaluated."""
        bboxes = read_numbers(video.ann_path, 4)
        bboxes = bboxes[OTB_SKIPPED.get(video.name, 0) :]
        return Truth(bboxes, has_area(np.asarray(bboxes)))
