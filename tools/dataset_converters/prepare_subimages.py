#!/usr/bin/env python
"""Cut a folder of images into sub-images, with low resolution, resumably.

Training reads small crops; decoding a whole photograph for each would take
longer than the network. An interrupted run continues where it stopped.

Examples:
    ``prepare_subimages.py data/T91 data/train_x4 --size 96 --step 48`` makes
    ``data/train_x4/{HR,LR_bicubic_X4}/NAME_sNNN.png`` from any images, the
    low resolution by MATLAB's bicubic operator.

    ``prepare_subimages.py --div2k data/DIV2K`` cuts DIV2K's 800 training
    images and its own low resolution into 32208 pairs, where MMagic's configs
    look for them. ``--lmdb`` makes databases instead of folders.
"""

import argparse
import io
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
from _subimage_store import FolderWriter, Journal, LmdbWriter
from mmengine.utils import ProgressBar
from PIL import Image

from mmdhp.datasets.image_folder import SUFFIXES
from mmdhp.datasets.imresize import crop_to_multiple, imresize


@dataclass(frozen=True)
class Settings:
    """What decides about the result; a resumed run must have the same.

    Attributes:
        source (str): Folder of the images.
        low (str): Folder of their low resolution; empty to make it.
        low_name (str): Template of its file names, without suffix.
        scale (int): Of the pairs; 1 for clean images alone.
        size (int): Of a sub-image, in high-resolution pixels.
        step (int): Between two sub-images.
        threshold (int): A rest of more pixels gets a last sub-image, which
            ends at the border.
        lmdb (bool): Databases instead of folders.
        high_to (str): Name of the folder or database of the sub-images.
        low_to (str): Likewise of their low resolution.
        meta_to (str): Name of the list of all sub-images.
    """

    source: str
    low: str
    low_name: str
    scale: int
    size: int
    step: int
    threshold: int
    lmdb: bool
    high_to: str
    low_to: str
    meta_to: str


def positions(length: int, size: int, step: int, threshold: int) -> list[int]:
    """Where sub-images start along an axis.

    Examples:
        >>> positions(1000, 480, 240, 48), positions(980, 480, 240, 48)
        ([0, 240, 480, 520], [0, 240, 480])
    """
    starts = list(range(0, length - size + 1, step))
    if starts and length - size - starts[-1] > threshold:
        starts.append(length - size)
    return starts


def cut(path: Path, settings: Settings) -> dict[str, Any]:
    """Cut one image; runs in a worker.

    Returns:
        dict: ``image``, its name; ``parts``, names of the sub-images;
        ``shape``, of each of them; ``high`` and ``low``, their PNG files.
    """
    scale = settings.scale
    high = crop_to_multiple(read(path), scale)
    low = _low_resolution(path, high, settings) if scale > 1 else None
    found: dict[str, Any] = dict(image=path.name, parts=[], high=[], low=[])
    size, step = settings.size, settings.step
    rows, columns = (
        positions(length, size, step, settings.threshold)
        for length in high.shape[:2]
    )
    for top in rows:
        for left in columns:
            part = high[top : top + size, left : left + size]
            found['parts'].append(f'{path.stem}_s{len(found["high"]) + 1:03d}')
            found['high'].append(encode(part))
            if low is not None:
                top_low, left_low, edge = (
                    n // scale for n in (top, left, size)
                )
                part_low = low[
                    top_low : top_low + edge, left_low : left_low + edge
                ]
                found['low'].append(encode(part_low))
    channels = 1 if high.ndim == 2 else high.shape[2]
    found['shape'] = [size, size, channels]
    return found


def _low_resolution(
    path: Path, high: np.ndarray, settings: Settings
) -> np.ndarray:
    """Read or make the low resolution of an image."""
    if not settings.low:
        return imresize(high, 1 / settings.scale)
    stem = settings.low_name.format(path.stem)
    partner = Path(settings.low) / f'{stem}{path.suffix}'
    if not partner.is_file():
        raise FileNotFoundError(
            f'{path} has no low resolution {partner}; check --low and '
            '--low-name.'
        )
    low = read(partner)
    expected = tuple(n // settings.scale for n in high.shape[:2])
    if low.shape[:2] != expected:
        raise ValueError(
            f'{partner} has {low.shape[1]}x{low.shape[0]} pixels, '
            f'expected {expected[1]}x{expected[0]}: 1/{settings.scale} of '
            f'{path}.'
        )
    return low


def read(path: Path) -> np.ndarray:
    """Image of shape ``(H, W)`` if its file is gray, else ``(H, W, 3)``."""
    with Image.open(path) as image:
        return np.asarray(image if image.mode == 'L' else image.convert('RGB'))


def encode(image: np.ndarray) -> bytes:
    """PNG file of an image."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(
        buffer, 'PNG', compress_level=3
    )
    return buffer.getvalue()


def prepare(out_dir: Path, settings: Settings, workers: int) -> dict[str, int]:
    """Cut all images that are not done yet.

    Args:
        out_dir (Path): Where everything goes.
        settings (Settings): What to do.
        workers (int): Processes; 0 for none besides this one.

    Returns:
        dict: Numbers of ``images``, of sub-images (``parts``), of images
        found ``done`` by an earlier run and of ``small`` ones that hold no
        sub-image.
    """
    images = list_images(Path(settings.source))
    journal = Journal(out_dir / f'.{settings.meta_to}.journal', settings)
    missing = [path for path in images if path.name not in journal.done]
    kind = LmdbWriter if settings.lmdb else FolderWriter
    high = kind(out_dir / settings.high_to)
    low = kind(out_dir / settings.low_to) if settings.scale > 1 else None
    bar = ProgressBar(len(images))
    if len(missing) < len(images):
        bar.update(len(images) - len(missing))
    try:
        for found in cut_all(missing, settings, workers):
            high.write(found['parts'], found.pop('high'))
            files = found.pop('low')
            if low is not None:
                low.write(found['parts'], files)
            journal.add(found)
            bar.update()
    finally:
        journal.close()
        high.close()
        if low is not None:
            low.close()
    entries = [journal.done[path.name] for path in images]
    write_list(out_dir / settings.meta_to, entries)
    return dict(
        images=len(images),
        parts=sum(len(entry['parts']) for entry in entries),
        done=len(images) - len(missing),
        small=sum(not entry['parts'] for entry in entries),
    )


def cut_all(
    paths: list[Path], settings: Settings, workers: int
) -> Iterator[dict[str, Any]]:
    """Cut images in any order."""
    if not workers:
        yield from (cut(path, settings) for path in paths)
        return
    with multiprocessing.Pool(workers) as pool:
        jobs = [(path, settings) for path in paths]
        yield from pool.imap_unordered(_cut, jobs)


def _cut(job: tuple[Path, Settings]) -> dict[str, Any]:
    return cut(*job)


def list_images(folder: Path) -> list[Path]:
    """Images of a folder by name; none may differ by its suffix only."""
    if not folder.is_dir():
        raise SystemExit(f'error: there is no folder {folder}.')
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES
    )
    stems = [path.stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if not paths or twice:
        problem = f'has two images named {twice[0]}' if twice else 'is empty'
        raise SystemExit(
            f'error: {folder} {problem}; expected images '
            f'({", ".join(SUFFIXES)}) of different names.'
        )
    return paths


def write_list(path: Path, entries: list[dict]) -> None:
    """Write names and shapes of all sub-images, as MMagic's lists are."""
    lines = [
        f'{part}.png ({",".join(map(str, entry["shape"]))})'
        for entry in entries
        for part in entry['parts']
    ]
    path.write_text('\n'.join(lines) + '\n')


def parse_args(argv: Optional[list[str]] = None) -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('source', nargs='?', help='folder of images')
    parser.add_argument('out', nargs='?', help='folder to fill')
    parser.add_argument(
        '--div2k', help='folder of DIV2K: everything as its users expect'
    )
    parser.add_argument('--low', default='', help='folder of low resolution')
    parser.add_argument(
        '--low-name', default='{}', help='its names, such as "{}x4"'
    )
    parser.add_argument(
        '--scale', type=int, default=4, help='1: no low resolution (4)'
    )
    parser.add_argument('--size', type=int, default=480, help='(480)')
    parser.add_argument('--step', type=int, default=240, help='(240)')
    parser.add_argument(
        '--threshold', type=int, default=48, help='smallest rest to use (48)'
    )
    parser.add_argument('--lmdb', action='store_true', help='databases')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='processes'
    )
    args = parser.parse_args(argv)
    if bool(args.div2k) == bool(args.source and args.out):
        parser.error('give SOURCE and OUT, or --div2k FOLDER')
    if min(args.scale, args.size, args.step) < 1:
        parser.error('--scale, --size and --step must be at least 1')
    if args.size % args.scale or args.step % args.scale:
        parser.error(
            f'--size {args.size} and --step {args.step} must be multiples of '
            f'--scale {args.scale}'
        )
    return args


def settings_of(args: argparse.Namespace) -> tuple[Path, Settings]:
    """Output folder and settings that the command line asks for."""
    suffix = '.lmdb' if args.lmdb else ''
    common = dict(
        scale=args.scale,
        size=args.size,
        step=args.step,
        threshold=args.threshold,
        lmdb=args.lmdb,
    )
    if not args.div2k:
        return Path(args.out), Settings(
            **common,
            source=args.source,
            low=args.low,
            low_name=args.low_name,
            high_to=f'HR{suffix}',
            low_to=f'LR_bicubic_X{args.scale}{suffix}',
            meta_to='meta_info.txt',
        )
    root, low = Path(args.div2k), f'DIV2K_train_LR_bicubic/X{args.scale}'
    return root, Settings(
        **common,
        source=str(root / 'DIV2K_train_HR'),
        low=str(root / low) if args.scale > 1 else '',
        low_name=f'{{}}x{args.scale}',
        high_to=f'DIV2K_train_HR_sub{suffix}',
        low_to=f'{low}_sub{suffix}',
        meta_to='meta_info_DIV2K800sub_GT.txt',
    )


def main() -> None:
    """Prepare and tell what was done."""
    args = parse_args()
    out_dir, settings = settings_of(args)
    try:
        found = prepare(out_dir, settings, args.workers)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from None
    print(
        f'\n{out_dir}: {found["parts"]} sub-images of {settings.size}x'
        f'{settings.size} pixels from {found["images"]} images '
        f'({found["done"]} of them done before; {found["small"]} are too '
        f'small).'
    )


if __name__ == '__main__':
    main()
