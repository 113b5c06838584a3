"""One-pass evaluation as an MMEngine metric."""

import os.path as osp
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from mmengine.dist import all_gather_object, barrier, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmdhp.registry import METRICS

from .ope import (
    FrameScores,
    got10k_overlaps,
    score_frames,
    summarize,
    summarize_areas,
    summarize_got10k,
)
from .ope_report import (
    table_text,
    write_plots,
    write_submission,
    write_table,
    zip_folder,
)

PROTOCOLS = ('otb', 'lasot', 'trackingnet', 'got10k')


@dataclass(frozen=True)
class VideoResult:
    """What a tracker found in a video, and the truth.

    Args:
        name (str): Name of the sequence.
        found (ndarray): ``x, y, w, h``, shape ``(T, 4)``.
        true (ndarray): Likewise; NaN where nothing is known.
        visible (ndarray): Shape ``(T, )``.
        size (tuple[int, int]): Height and width of the frames.
        seconds (ndarray): Of every frame, shape ``(T, )``.
    """

    name: str
    found: np.ndarray
    true: np.ndarray
    visible: np.ndarray
    size: tuple[int, int]
    seconds: np.ndarray


@METRICS.register_module()
class SOTMetric(BaseMetric):
    """Success, precision and normalised precision of one pass.

    In percent, means over sequences; for ``'got10k'`` average overlap and
    success rates over frames. The rules differ by protocol:

    - ``'otb'``: mean of the success curve at 21 thresholds; precision at 20
      pixels; normalised precision at 0.2.
    - ``'lasot'``: the same, frames without a visible target are misses.
    - ``'trackingnet'``: areas under the curves, coordinates rounded.
    - ``'got10k'``: visible frames but the first, boxes clipped to the image.

    Args:
        metric (str): ``'OPE'``, as in mmtrack. Defaults to ``'OPE'``.
        protocol (str): One of the above. Defaults to ``'otb'``.
        metric_options (dict, optional): ``invalid='toolkit'`` counts frames
            without a true size as published tools do.
        format_only (bool): Write results for a server, without scores.
            Defaults to False.
        outfile_prefix (str, optional): Folder for the table, the plots and
            the boxes. Defaults to None, nothing is written.
        collect_device (str): ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): Of the names of the numbers. Defaults to
            ``'sot'``.

    Raises:
        ValueError: If an option has an unknown value.
    """

    default_prefix = 'sot'

    def __init__(
        self,
        metric: str = 'OPE',
        protocol: str = 'otb',
        *,
        metric_options: Optional[dict] = None,
        format_only: bool = False,
        outfile_prefix: Optional[str] = None,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        options = dict(invalid='miss')
        options.update(metric_options or {})
        for name, value, known in (
            ('metric', metric, ('OPE',)),
            ('protocol', protocol, PROTOCOLS),
            ('metric_options', set(options), ({'invalid'},)),
            ('invalid', options.get('invalid'), ('miss', 'toolkit')),
        ):
            if value not in known:
                raise ValueError(
                    f'SOTMetric: {name} is {value!r}; there are '
                    f'{", ".join(map(str, known))}.'
                )
        if format_only and outfile_prefix is None:
            raise ValueError(
                'SOTMetric: format_only=True writes results only, so set '
                'outfile_prefix to a folder.'
            )
        self.protocol = protocol
        self.invalid = options['invalid']
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the boxes of frames."""
        for sample in data_samples:
            self.results.append(
                dict(
                    video=(sample['video_id'], sample['video_name']),
                    frame=sample['frame_id'],
                    found=_xywh(sample['pred_track_instances']),
                    true=_xywh(sample['gt_instances']),
                    visible=sample['visible'],
                    size=sample['ori_shape'],
                    seconds=sample.get('seconds', 0.0),
                )
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather whole videos from all processes and score them.

        Args:
            size (int): Not used: processes may have different numbers.
        """
        gathered = all_gather_object(self.results)
        frames = [frame for part in gathered for frame in part]
        metrics = self.compute_metrics(frames) if is_main_process() else {}
        barrier()
        metrics = all_gather_object(metrics)[0]
        self.results.clear()
        return {f'{self.prefix}/{k}': v for k, v in metrics.items()}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Score all frames.

        Raises:
            ValueError: If there is no frame, or no truth to compare with.
        """
        videos = videos_of(results)
        if not videos:
            raise ValueError('SOTMetric: no frame has been tracked.')
        if self.outfile_prefix is not None:
            self._write_boxes(videos)
        if self.format_only:
            return {}
        unknown = [v.name for v in videos if not _has_truth(v)]
        if unknown:
            raise ValueError(
                f'SOTMetric: {len(unknown)} of {len(videos)} sequences, '
                f'{unknown[0]} first, have a true box in the first frame '
                'only, as test sets do that a server scores. Set '
                'format_only=True and outfile_prefix to write results.'
            )
        if self.protocol == 'got10k':
            return self._got10k(videos)
        return self._curves(videos)

    def _scores(self, video: VideoResult) -> FrameScores:
        found, true = video.found, video.true
        if self.protocol == 'trackingnet':
            found, true = np.round(found), np.round(true)
        return score_frames(
            found,
            true,
            video.visible,
            only_visible=self.protocol == 'lasot',
            invalid=self.invalid,
        )

    def _curves(self, videos: list[VideoResult]) -> dict[str, float]:
        rows, all_curves = [], []
        for video in videos:
            scores = self._scores(video)
            all_curves.append(scores.curves())
            if self.protocol == 'trackingnet':
                numbers = summarize_areas(scores)
            else:
                numbers = summarize(all_curves[-1])
            rows.append(_row(video, numbers))
        totals = self._finish(rows)
        if self.outfile_prefix is not None:
            mean = {
                name: np.mean([curves[name] for curves in all_curves], 0)
                for name in all_curves[0]
            }
            title = osp.basename(osp.normpath(self.outfile_prefix))
            write_plots(self.outfile_prefix, mean, totals, title)
        return totals

    def _got10k(self, videos: list[VideoResult]) -> dict[str, float]:
        overlaps = [
            got10k_overlaps(v.found, v.true, v.visible, v.size) for v in videos
        ]
        rows = [
            _row(video, summarize_got10k(own))
            for video, own in zip(videos, overlaps)
            if len(own)
        ]
        self._finish(rows)
        return summarize_got10k(np.concatenate(overlaps))

    def _finish(self, rows: list[dict]) -> dict[str, float]:
        """Log and write the table; return means over sequences."""
        names = [k for k in rows[0] if k not in ('sequence', 'frames', 'fps')]
        print_log('\n' + table_text(rows, [*names, 'fps']), logger='current')
        if self.outfile_prefix is not None:
            write_table(osp.join(self.outfile_prefix, 'sequences.csv'), rows)
        return {
            name: float(np.mean([row[name] for row in rows])) for name in names
        }

    def _write_boxes(self, videos: list[VideoResult]) -> None:
        folder = osp.join(str(self.outfile_prefix), 'boxes')
        for video in videos:
            boxes = np.concatenate([video.true[:1], video.found[1:]])
            write_submission(
                folder, self.protocol, video.name, boxes, video.seconds
            )
        if self.format_only:
            path = zip_folder(folder)
            print_log(f'Results for the server: {path}.', logger='current')


def videos_of(results: Sequence[Mapping]) -> list[VideoResult]:
    """Join frames of videos, in order."""
    frames: dict[Any, dict[int, Mapping]] = defaultdict(dict)
    for frame in results:
        frames[frame['video']][frame['frame']] = frame
    videos = []
    for (_, name), by_number in sorted(frames.items()):
        rows = [by_number[number] for number in sorted(by_number)]
        sizes = [row['size'] for row in rows if min(row['size']) > 0]
        videos.append(
            VideoResult(
                name,
                np.stack([row['found'] for row in rows]),
                np.stack([row['true'] for row in rows]),
                np.array([row['visible'] for row in rows], dtype=bool),
                tuple(sizes[0]) if sizes else (0, 0),
                np.array([row['seconds'] for row in rows]),
            )
        )
    return videos


def _xywh(instances: Mapping) -> np.ndarray:
    box = np.asarray(instances['bboxes'].detach().cpu(), dtype=np.float64)[0]
    return np.concatenate([box[:2], box[2:] - box[:2]])


def _has_truth(video: VideoResult) -> bool:
    return len(video.true) == 1 or bool(np.isfinite(video.true[1:]).any())


def _row(video: VideoResult, numbers: Mapping[str, float]) -> dict:
    spent = float(video.seconds[1:].sum())
    count = len(video.found)
    return {
        'sequence': video.name,
        'frames': count,
        **numbers,
        'fps': (count - 1) / spent if spent > 0 else float('nan'),
    }
