#!/usr/bin/env python
"""Lay Tiny-ImageNet's images side by side, with the boxes of their objects.

Real objects for the training of a tracker, from a small download. An image of
64 pixels shows little of an object's surroundings, so others are its
neighbours, as in the mosaics that detectors are trained on. The result is in
COCO's layout, for ``mmdhp.SOTCocoDataset``: ``OUT/{images/,
annotations.json}``.

Examples:
    ``python tools/dataset_converters/tiny_imagenet_boxes.py
    data/tiny-imagenet-200 data/tiny_boxes``
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import mkdir_or_exist, track_iter_progress

SIDE = 64  # pixels of an image
SMALLEST = 14  # root of an object's area, in pixels
LARGEST = 50
MAX_BORDERS = 1  # of the image that an object may touch

Box = tuple[int, int, int, int]


def objects(root: Path) -> Iterator[tuple[Path, Box]]:
    """Images of both splits with ``x, y, w, h`` of their object."""
    lists = [(root / 'val' / 'val_annotations.txt', root / 'val' / 'images')]
    lists += [
        (path, path.parent / 'images')
        for path in sorted((root / 'train').glob('*/*_boxes.txt'))
    ]
    for path, folder in lists:
        if not path.exists():
            continue
        for line in path.read_text().splitlines():
            name, *_, left, top, right, bottom = line.split()
            corner = int(left), int(top)
            size = int(right) + 1 - corner[0], int(bottom) + 1 - corner[1]
            if (folder / name).exists():
                yield folder / name, (*corner, *size)


def usable(box: Box) -> bool:
    """Whether an object is of fair size and for the most part in the image.

    Examples:
        >>> usable((10, 12, 30, 20)), usable((0, 12, 30, 20))
        (True, True)
        >>> usable((0, 0, 30, 20)), usable((1, 1, 62, 62))
        (False, False)
    """
    x, y, width, height = box
    borders = (x <= 0, y <= 0, x + width >= SIDE, y + height >= SIDE)
    fair = SMALLEST**2 <= width * height <= LARGEST**2
    return fair and sum(borders) <= MAX_BORDERS


def mosaic(
    inner: list[Path],
    others: list[Path],
    tiles: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Images in the middle of a square of ``tiles²``, others around them.

    Returns:
        ndarray: BGR, shape ``(tiles · 64, tiles · 64, 3)``.
    """
    picture = np.empty((tiles * SIDE, tiles * SIDE, 3), np.uint8)
    queue = iter(inner)
    for row in range(tiles):
        for column in range(tiles):
            if 0 < row < tiles - 1 and 0 < column < tiles - 1:
                path = next(queue)
            else:
                path = others[rng.integers(len(others))]
            tile = cv2.imread(str(path))
            top, left = row * SIDE, column * SIDE
            picture[top : top + SIDE, left : left + SIDE] = tile
    return picture


def placed(box: Box, place: int, tiles: int) -> list[int]:
    """A box in the mosaic, whose inner images are numbered row by row.

    Examples:
        >>> placed((10, 12, 30, 20), place=4, tiles=5)
        [138, 140, 30, 20]
    """
    row, column = divmod(place, tiles - 2)
    x, y, width, height = box
    return [(column + 1) * SIDE + x, (row + 1) * SIDE + y, width, height]


def make(root: Path, out: Path, tiles: int, rounds: int, seed: int) -> int:
    """Write all mosaics.

    Returns:
        int: Number of objects.

    Raises:
        SystemExit: If there are too few.
    """
    known = dict(objects(root))
    found = [item for item in known.items() if usable(item[1])]
    inner = (tiles - 2) ** 2
    if len(found) < inner:
        raise SystemExit(
            f'error: {root} has {len(found)} usable objects, but a mosaic of '
            f'{tiles}x{tiles} takes {inner}. Expected is Tiny-ImageNet as it '
            'is published: val/val_annotations.txt, val/images and, for more '
            'objects, train/WNID/WNID_boxes.txt.'
        )
    rng = np.random.default_rng(seed)
    others = sorted(root.glob('train/*/images/*')) or list(known)
    groups = []
    for _ in range(rounds):
        order = rng.permutation(len(found))
        whole = len(found) // inner * inner
        groups += list(order[:whole].reshape(-1, inner))
    mkdir_or_exist(str(out / 'images'))
    images: list[dict] = []
    annotations: list[dict] = []
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    for number, group in enumerate(track_iter_progress(groups)):
        chosen = [found[index] for index in group]
        picture = mosaic([path for path, _ in chosen], others, tiles, rng)
        name, side = f'{number:06d}.jpg', len(picture)
        cv2.imwrite(str(out / 'images' / name), picture, quality)
        images.append(dict(id=number, file_name=name, height=side, width=side))
        annotations += [
            dict(
                id=inner * number + place,
                image_id=number,
                category_id=1,
                iscrowd=0,
                area=box[2] * box[3],
                bbox=placed(box, place, tiles),
            )
            for place, (_, box) in enumerate(chosen)
        ]
    content = dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=1, name='object')],
    )
    (out / 'annotations.json').write_text(json.dumps(content))
    return len(annotations)


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('root', type=Path, help='unpacked Tiny-ImageNet')
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument(
        '--tiles', type=int, default=5, help='images per side (default: 5)'
    )
    parser.add_argument(
        '--rounds',
        type=int,
        default=4,
        help='how often an object is used, among other neighbours '
        '(default: 4)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of the neighbours'
    )
    args = parser.parse_args()
    if args.tiles < 3 or args.rounds < 1:
        parser.error('--tiles has to be at least 3, --rounds at least 1')
    return args


def main() -> None:
    """Write the data set."""
    args = parse_args()
    count = make(args.root, args.out, args.tiles, args.rounds, args.seed)
    print(f'\n{count} objects: {args.out}')


if __name__ == '__main__':
    main()
