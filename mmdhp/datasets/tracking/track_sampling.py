"""Which video, which frames: samplers of training and test."""

import bisect
import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Optional

import numpy as np
import torch
from mmengine.dataset import ConcatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATASETS as ROOT_DATASETS
from torch.utils.data import Dataset, Sampler

from mmdhp.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS

MAX_REFETCH = 1000


@TRANSFORMS.register_module()
class DiMPSampling:
    """Draws training frames before test frames from one video.

    A base frame, which is the first training frame, is drawn among the
    visible ones; the other training frames lie within ``max_frame_range``
    before it and the test frames within as much behind it. Where there are
    none, the range grows by 5. A still image is taken for all frames.

    Args:
        num_train (int): Training frames. Defaults to 3.
        num_test (int): Test frames. Defaults to 3.
        max_frame_range (int): Frames to either side. Defaults to 30.
        min_length (int): Shorter videos are not used. Defaults to 20.
    """

    def __init__(
        self,
        num_train: int = 3,
        num_test: int = 3,
        max_frame_range: int = 30,
        min_length: int = 20,
    ) -> None:
        if min(num_train, num_test, max_frame_range) < 1:
            raise ValueError(
                f'DiMPSampling: num_train={num_train}, num_test={num_test} '
                f'and max_frame_range={max_frame_range} must be at least 1.'
            )
        self.num_train = num_train
        self.num_test = num_test
        self.max_frame_range = max_frame_range
        self.min_length = min_length

    def __call__(self, results: dict) -> Optional[dict]:
        """Draw frames.

        Args:
            results (dict): ``frame_path`` (callable), ``bboxes`` (T, 4),
                ``visible`` (T, ) and ``is_video``.

        Returns:
            dict | None: ``img_paths``, ``bboxes`` and
            ``num_template_frames``; None if the video is unsuited.
        """
        count = self.num_train + self.num_test
        frames = [0] * count
        if results['is_video']:
            visible = results['visible']
            if len(visible) < self.min_length or visible.sum() <= 2 * count:
                return None
            frames = self._draw(visible)
        return dict(
            img_paths=[results['frame_path'](i) for i in frames],
            bboxes=np.asarray(results['bboxes'], dtype=float)[frames],
            num_template_frames=self.num_train,
            video_name=results['video_name'],
        )

    def _draw(self, visible: np.ndarray) -> list[int]:
        """Training frames, then test frames."""
        (seen,) = np.nonzero(visible)
        # Both sides of the base frame hold at least one visible frame.
        bases = seen[1:-1]
        gap = self.max_frame_range
        while True:
            base = int(np.random.choice(bases))
            before = seen[(seen >= base - gap) & (seen < base)]
            behind = seen[(seen > base) & (seen < base + gap)]
            if len(before) and len(behind):
                train = np.random.choice(before, self.num_train - 1)
                test = np.random.choice(behind, self.num_test)
                return [base, *train.tolist(), *test.tolist()]
            gap += 5


@DATASETS.register_module()
class RandomSampleConcatDataset(Dataset):
    """Draws a data set by its weight, then one of its videos uniformly.

    The index of an item is ignored: :class:`QuotaSampler` says how many.

    Args:
        datasets (Sequence[dict]): The data sets.
        dataset_sampling_weights (Sequence[float], optional): Their weights.
            Defaults to equal ones.

    Raises:
        ValueError: If there are not as many weights, or they are no weights.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        dataset_sampling_weights: Optional[Sequence[float]] = None,
    ) -> None:
        self.datasets = [
            ROOT_DATASETS.build(d) if isinstance(d, dict) else d
            for d in datasets
        ]
        weights = list(dataset_sampling_weights or [1.0] * len(self.datasets))
        if (
            len(weights) != len(self.datasets)
            or min(weights) < 0
            or sum(weights) <= 0
        ):
            raise ValueError(
                f'RandomSampleConcatDataset: dataset_sampling_weights is '
                f'{weights} for {len(self.datasets)} data sets; give one '
                'weight of at least 0 each, not all 0.'
            )
        self.probabilities = np.array(weights) / sum(weights)
        self.metainfo: dict = getattr(self.datasets[0], 'metainfo', {})

    def full_init(self) -> None:
        """Load all annotations."""
        for dataset in self.datasets:
            dataset.full_init()

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)

    def __getitem__(self, index: int) -> Any:
        """A random sample.

        Raises:
            RuntimeError: If no video is suited.
        """
        for _ in range(MAX_REFETCH):
            choice = np.random.choice(len(self.datasets), p=self.probabilities)
            dataset = self.datasets[choice]
            item = dataset.prepare_data(np.random.randint(len(dataset)))
            if item is not None:
                return item
        raise RuntimeError(
            f'RandomSampleConcatDataset drew {MAX_REFETCH} videos, and none '
            'was suited: too short, too rarely visible, or unreadable.'
        )


@DATA_SAMPLERS.register_module()
class QuotaSampler(Sampler):
    """Random items, a fixed number per epoch.

    Args:
        dataset (Dataset): What is sampled.
        samples_per_epoch (int): Items per epoch over all processes.
        seed (int, optional): The same in all processes. Defaults to a common
            random one.
        replacement (bool): Whether an item may come twice in an epoch.
            Defaults to False; then all come equally often.
    """

    def __init__(
        self,
        dataset: Any,
        samples_per_epoch: int,
        seed: Optional[int] = None,
        replacement: bool = False,
    ) -> None:
        if samples_per_epoch < 1:
            raise ValueError(
                f'QuotaSampler: samples_per_epoch is {samples_per_epoch}, '
                'but must be at least 1.'
            )
        self.rank, self.world_size = get_dist_info()
        self.size = len(dataset)
        self.samples_per_epoch = samples_per_epoch
        self.seed = sync_random_seed() if seed is None else seed
        self.replacement = replacement
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(self.samples_per_epoch / self.world_size)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        total = len(self) * self.world_size
        if self.replacement:
            order = torch.randint(self.size, (total,), generator=generator)
        else:
            rounds = math.ceil(total / self.size)
            order = torch.cat(
                [
                    torch.randperm(self.size, generator=generator)
                    for _ in range(rounds)
                ]
            )[:total]
        return iter(order[self.rank :: self.world_size].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Draw others in the next epoch."""
        self.epoch = epoch


@DATA_SAMPLERS.register_module()
class VideoSampler(Sampler):
    """All frames of all videos, in order; every process has whole videos.

    Args:
        dataset (BaseSOTDataset): In test mode.
        seed (int, optional): Not used: MMEngine passes it to all samplers.
    """

    def __init__(self, dataset: Any, seed: Optional[int] = None) -> None:
        if isinstance(dataset, ConcatDataset) or not hasattr(
            dataset, 'num_frames'
        ):
            raise TypeError(
                f'VideoSampler needs a data set of videos, but got '
                f'{type(dataset).__name__}.'
            )
        rank, world_size = get_dist_info()
        lengths = [dataset.num_frames(i) for i in range(dataset.num_videos)]
        self.lengths = dict(enumerate(lengths))
        self.videos = _share(lengths, rank, world_size)

    def __len__(self) -> int:
        return sum(self.lengths[video] for video in self.videos)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for video in self.videos:
            for frame in range(self.lengths[video]):
                yield video, frame


def _share(lengths: Sequence[int], rank: int, world_size: int) -> range:
    """Consecutive videos with about an equal share of all frames."""
    ends = list(accumulate(lengths))
    total = ends[-1] if ends else 0
    first, last = (
        bisect.bisect_left(ends, total * part / world_size)
        for part in (rank, rank + 1)
    )
    start = 0 if rank == 0 else first + 1
    stop = len(lengths) if rank == world_size - 1 else last + 1
    return range(start, max(start, min(stop, len(lengths))))
