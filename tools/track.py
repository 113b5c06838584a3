#!/usr/bin/env python
"""Track one object through a video, or through a folder of frames."""

import argparse
import os
import os.path as osp
import re
import sys
import time
from collections.abc import Iterator
from typing import Any, Optional

import cv2
import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, init_default_scope

import mmdhp
from mmdhp.checkpoints.checkpoint_file import read_checkpoint
from mmdhp.cli.common import check_checkpoint, clear_errors
from mmdhp.datasets.tracking.annotation_files import list_images
from mmdhp.models.online_tracking.localization import NOT_FOUND, UNCERTAIN
from mmdhp.models.online_tracking.track_state import UNREADABLE, check_box

WORDS = {
    NOT_FOUND: 'target lost; its box stays',
    UNREADABLE: 'frame unreadable; the box stays',
    UNCERTAIN: 'uncertain: something else looks like the target',
}
COLORS = {NOT_FOUND: (0, 0, 255), UNREADABLE: (0, 0, 255)}  # BGR
FOLDER_FPS = 25.0
MAX_GAP = 25  # unreadable frames in a row after which a video has ended


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('video', help='video file, or folder of frames')
    parser.add_argument(
        '--box',
        required=True,
        type=parse_box,
        metavar='x,y,w,h',
        help='the target in the first frame: left, top, width and height in '
        'pixels',
    )
    parser.add_argument(
        '--config',
        required=True,
        help='config of the tracker, or pruned_config.py of an exported one',
    )
    parser.add_argument(
        '--checkpoint', required=True, help='its weights, pruned or not'
    )
    parser.add_argument(
        '--out', help='draw the boxes into this video (.mp4 or .avi)'
    )
    parser.add_argument(
        '--boxes', help='write the boxes to this file, x,y,w,h,score a line'
    )
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='default: %(default)s',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override entries of the config, as key=value',
    )
    args = parser.parse_args()
    if args.out and not args.out.lower().endswith(('.mp4', '.avi')):
        parser.error(f'--out is {args.out}, but must end in .mp4 or .avi')
    return args


def parse_box(text: str) -> list[float]:
    """``'x,y,w,h'`` to numbers."""
    try:
        box = [float(v) for v in re.split(r'[,\s]+', text.strip())]
    except ValueError:
        box = []
    if len(box) != 4 or min(box[2:]) <= 0:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no box; give four numbers x,y,w,h with positive '
            'width and height'
        )
    return box


class Frames:
    """Frames of a video file or of a folder, one at a time.

    Args:
        path (str): The file or folder.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.files: Optional[list[str]] = None
        if osp.isdir(path):
            names = sorted(list_images(path), key=_by_number)
            self.files = [osp.join(path, name) for name in names]
            self.count, self.fps = len(self.files), FOLDER_FPS
        elif osp.isfile(path):
            self.video = cv2.VideoCapture(path)
            self.count = int(self.video.get(cv2.CAP_PROP_FRAME_COUNT))
            self.fps = self.video.get(cv2.CAP_PROP_FPS) or FOLDER_FPS
            if not self.video.isOpened():
                self.count = 0
        else:
            raise SystemExit(f'error: there is no video or folder {path}.')
        if not self.count:
            raise SystemExit(
                f'error: {path} has no frames that can be read; give a video '
                'that OpenCV opens, or a folder of .jpg or .png images.'
            )

    def __iter__(self) -> Iterator[Optional[np.ndarray]]:
        """BGR images; None where a frame is unreadable."""
        if self.files is not None:
            for file in self.files:
                yield cv2.imread(file, cv2.IMREAD_COLOR)
            return
        pending = 0
        for _ in range(self.count):
            readable, image = self.video.read()
            if not readable:
                pending += 1
                if pending > MAX_GAP:
                    break
                continue
            yield from [None] * pending  # missing frames at the end are none
            pending = 0
            yield image


def _by_number(name: str) -> list:
    """Sort 2.jpg before 10.jpg."""
    parts = re.split(r'(\d+)', name)
    return [int(p) if p.isdigit() else p for p in parts]


def load_tracker(args: argparse.Namespace) -> Any:
    """Build the model of the config with the widths of the checkpoint."""
    if not osp.isfile(args.config):
        raise SystemExit(f'error: there is no config {args.config}.')
    check_checkpoint(args.checkpoint)
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    model = MODELS.build(cfg.model)
    if getattr(model, 'tracker', None) is None:
        raise SystemExit(
            f'error: the model of {args.config}, {type(model).__name__}, has '
            'no online tracker; use a config such as '
            'configs/tracking/dimp_r50.py.'
        )
    found = read_checkpoint(args.checkpoint)
    return mmdhp.rebuild(model, found).to(args.device).eval()


class Output:
    """Draws boxes into a video that is written frame by frame.

    Args:
        path (str): The video.
        fps (float): Its frames per second.
    """

    def __init__(self, path: str, fps: float) -> None:
        self.path, self.fps = path, fps
        self.writer: Optional[cv2.VideoWriter] = None
        self.size = (0, 0)

    def add(
        self, image: Optional[np.ndarray], box: list[float], flag: str
    ) -> None:
        """Add a frame; one that is unreadable is black."""
        if image is None:
            if self.writer is None:
                return
            image = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        image = image.copy()
        color = COLORS.get(flag, (0, 255, 0))
        x, y, width, height = box
        cv2.rectangle(
            image,
            (round(x), round(y)),
            (round(x + width), round(y + height)),
            color,
            2,
        )
        if self.writer is None:
            self._open(image)
        if image.shape[1::-1] != self.size:
            image = cv2.resize(image, self.size)
        assert self.writer is not None
        self.writer.write(image)

    def _open(self, image: np.ndarray) -> None:
        os.makedirs(osp.dirname(osp.abspath(self.path)), exist_ok=True)
        self.size = (image.shape[1], image.shape[0])
        code = 'mp4v' if self.path.lower().endswith('.mp4') else 'MJPG'
        fourcc = cv2.VideoWriter.fourcc(*code)
        self.writer = cv2.VideoWriter(self.path, fourcc, self.fps, self.size)
        if not self.writer.isOpened():
            raise SystemExit(
                f'error: OpenCV cannot write {self.path}; try another folder '
                'or .avi.'
            )

    def close(self) -> None:
        """Finish the file."""
        if self.writer is not None:
            self.writer.release()


def follow(
    model: Any, frames: Frames, args: argparse.Namespace
) -> Iterator[tuple[Optional[np.ndarray], list[float], float, str]]:
    """Track; yield image, box, score and flag of every frame."""
    state = None
    for image in frames:
        tensor = None
        if image is not None:
            channels = np.ascontiguousarray(image.transpose(2, 0, 1))
            tensor = torch.from_numpy(channels).to(args.device)
            tensor = model.data_preprocessor.normalize(tensor[None])[0]
        if state is None:
            name = osp.basename(osp.normpath(args.video))
            size = None if image is None else image.shape[:2]
            check_box(args.box, size, name)
            state = model.tracker.start(model, tensor, args.box, name=name)
            yield image, list(state.box), 1.0, state.flag
        else:
            box, score = model.tracker.track(model, state, tensor)
            yield image, box, score, state.flag


def show_progress(number: int, count: int, start: float) -> None:
    """Overwrite one line on a terminal; elsewhere, a line per 50 frames."""
    rate = number / max(time.perf_counter() - start, 1e-6)
    text = f'frame {number}/{count}, {rate:.1f} per second'
    if sys.stdout.isatty():
        print(f'\r{text}  ', end='', flush=True)
    elif number % 50 == 0 or number == count:
        print(text, flush=True)


def main() -> None:
    """Track and write."""
    args = parse_args()
    frames = Frames(args.video)
    with clear_errors():
        model = load_tracker(args)
        output = Output(args.out, frames.fps) if args.out else None
        rows: list[str] = []
        flags: dict[str, int] = {}
        last = ''
        start = time.perf_counter()
        for image, box, score, flag in follow(model, frames, args):
            rows.append(','.join(f'{v:.2f}' for v in box) + f',{score:.4f}')
            flags[flag] = flags.get(flag, 0) + 1
            if flag != last and flag in WORDS:
                print(f'\nframe {len(rows)}: {WORDS[flag]}.')
            elif flag != last and last in (NOT_FOUND, UNREADABLE):
                print(f'\nframe {len(rows)}: target found again.')
            last = flag
            if output is not None:
                output.add(image, box, flag)
            show_progress(len(rows), frames.count, start)
    finish(args, output, rows, flags)


def finish(
    args: argparse.Namespace,
    output: Optional[Output],
    rows: list[str],
    flags: dict[str, int],
) -> None:
    """Write what is asked for, and sum up."""
    summary = ', '.join(f'{count} {flag}' for flag, count in flags.items())
    print(f'\n{len(rows)} frames: {summary}.')
    if args.boxes:
        os.makedirs(osp.dirname(osp.abspath(args.boxes)), exist_ok=True)
        with open(args.boxes, 'w', encoding='utf-8') as file:
            file.write('\n'.join(rows) + '\n')
        print(f'Boxes: {args.boxes}')
    if output is not None:
        output.close()
        if output.writer is None:
            raise SystemExit('error: no frame could be read, none is drawn.')
        print(f'Video: {args.out}')


if __name__ == '__main__':
    main()
