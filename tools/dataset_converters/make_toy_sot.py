#!/usr/bin/env python
"""Draw videos of one moving object each, in LaSOT's layout."""

import argparse
import os.path as osp
from pathlib import Path

from mmdhp.datasets.image_folder import SUFFIXES
from mmdhp.datasets.tracking.toy_sequences import (
    PhotoCrops,
    make_toy_set,
    random_colors,
)

ROOT = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        '--out', default=osp.join(ROOT, 'data', 'toy_sot'), help='folder'
    )
    parser.add_argument('--train', type=int, default=16, help='videos')
    parser.add_argument('--test', type=int, default=6, help='videos')
    parser.add_argument('--train-frames', type=int, default=24, help='of each')
    parser.add_argument('--test-frames', type=int, default=40, help='of each')
    parser.add_argument(
        '--distractors', type=int, default=0, help='other objects per video'
    )
    parser.add_argument(
        '--images',
        metavar='FOLDER',
        help='cut objects and backgrounds out of these photographs; without, '
        'random colours are drawn',
    )
    parser.add_argument(
        '--changing',
        action='store_true',
        help='objects turn, stretch and fade, and have soft edges; half of '
        'the videos show a piece of the background, seen by a moving camera',
    )
    parser.add_argument('--seed', type=int, default=0, help='of all videos')
    args = parser.parse_args()
    for key in ('train', 'test', 'train_frames', 'test_frames'):
        if getattr(args, key) < 1:
            name = key.replace('_', '-')
            parser.error(f'--{name} is {getattr(args, key)}, below 1')
    return args


def photographs(folder: str) -> PhotoCrops:
    """All images of a folder, subfolders included."""
    paths = [
        str(path)
        for path in Path(folder).rglob('*')
        if path.suffix.lower() in SUFFIXES
    ]
    if not paths:
        raise SystemExit(f'error: there are no images in {folder}.')
    return PhotoCrops(paths)


def main() -> None:
    """Draw both splits."""
    args = parse_args()
    texture = photographs(args.images) if args.images else random_colors
    make_toy_set(
        args.out,
        train=args.train,
        test=args.test,
        train_frames=args.train_frames,
        test_frames=args.test_frames,
        distractors=args.distractors,
        texture=texture,
        changing=args.changing,
        seed=args.seed,
    )
    print(f'{args.train} training and {args.test} test videos: {args.out}')


if __name__ == '__main__':
    main()
