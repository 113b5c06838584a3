#!/usr/bin/env python
"""Draw videos of one moving object each, in LaSOT's layout."""

import argparse
import os.path as osp

from mmdhp.datasets.tracking.toy_sequences import make_toy_set

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
    parser.add_argument('--seed', type=int, default=0, help='of all videos')
    args = parser.parse_args()
    for key in ('train', 'test', 'train_frames', 'test_frames'):
        if getattr(args, key) < 1:
            name = key.replace('_', '-')
            parser.error(f'--{name} is {getattr(args, key)}, below 1')
    return args


def main() -> None:
    """Draw both splits."""
    args = parse_args()
    make_toy_set(
        args.out,
        train=args.train,
        test=args.test,
        train_frames=args.train_frames,
        test_frames=args.test_frames,
        distractors=args.distractors,
        seed=args.seed,
    )
    print(f'{args.train} training and {args.test} test videos: {args.out}')


if __name__ == '__main__':
    main()
