"""Make a small x4 super-resolution data set without downloading anything.

The photos ship inside the scikit-image wheel. The result is large enough to
see a super-resolution network learn and be pruned in minutes, and too small
to compare with published numbers.

Examples:
    ``python tools/dataset_converters/prepare_sample.py --out data/sample_sr``
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
from PIL import Image

SCALE = 4
SUB_SIZE = 128
SUB_STRIDE = 64
# Half the support of the antialiased cubic kernel, in output pixels.
MARGIN = 2


class Photo(NamedTuple):
    """A photo of the wheel, or the columns of it that a split may use.

    Attributes:
        file (str): File name in scikit-image's ``data`` folder.
        left (int): First column used.
        right (int, optional): Column behind the last one used.
    """

    file: str
    left: int = 0
    right: Optional[int] = None


PHOTOS = {
    'train': (
        Photo('astronaut.png'),
        Photo('coffee.png'),
        Photo('motorcycle_left.png', right=480),
        Photo('rocket.jpg'),
    ),
    'val': (
        Photo('chelsea.png'),
        Photo('motorcycle_left.png', left=484),
    ),
}


class Summary(NamedTuple):
    """What a sample set holds.

    Attributes:
        out_dir (Path): Folder of the set.
        num_train (int): Training pairs.
        num_val (int): Validation pairs.
        created (bool): Whether it was written now or found complete.
    """

    out_dir: Path
    num_train: int
    num_val: int
    created: bool


def prepare(out_dir: Union[str, Path]) -> Summary:
    """Write the sample set unless it is already complete.

    Layout: ``{train,val}/{HR,LR_bicubic_X4}/NAME.png``. Training photos are
    cut into overlapping sub-images of 128x128 (HR); validation photos stay
    whole and share no pixel with them. All files appear at once: an
    interrupted run leaves no ``out_dir``.

    Args:
        out_dir (str | Path): Folder to create.

    Returns:
        Summary: Counts, and whether anything was written.

    Raises:
        FileNotFoundError: If scikit-image, or a photo of it, is missing.
        FileExistsError: If ``out_dir`` exists and is not a complete set.
    """
    out_dir = Path(out_dir)
    pairs = {split: list(iter_pairs(split)) for split in PHOTOS}
    counts = len(pairs['train']), len(pairs['val'])
    wanted = {
        Path(split, folder, f'{name}.png')
        for split, samples in pairs.items()
        for name, *_ in samples
        for folder in ('HR', f'LR_bicubic_X{SCALE}')
    }
    if out_dir.exists():
        missing = {path for path in wanted if not (out_dir / path).is_file()}
        if missing:
            raise FileExistsError(
                f'{out_dir} exists but lacks {len(missing)} of '
                f'{len(wanted)} images, such as {min(missing)}; remove it '
                'or choose another folder.'
            )
        return Summary(out_dir, *counts, created=False)

    out_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix='.partial-'))
    try:
        for split, samples in pairs.items():
            _write(partial / split, samples)
        partial.chmod(0o755)
        partial.rename(out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Summary(out_dir, *counts, created=True)


def iter_pairs(split: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, HR and LR image of one split.

    Args:
        split (str): ``'train'`` or ``'val'``.

    Yields:
        tuple: Name, HR image of shape ``(4 * h, 4 * w, 3)`` and LR image of
        shape ``(h, w, 3)``, both ``uint8`` and RGB.
    """
    for photo in PHOTOS[split]:
        high = load(photo)
        low = downscale(high)
        name = Path(photo.file).stem
        if split == 'val':
            yield name, high, low
            continue
        for top in range(0, high.shape[0] - SUB_SIZE + 1, SUB_STRIDE):
            for left in range(0, high.shape[1] - SUB_SIZE + 1, SUB_STRIDE):
                yield (
                    f'{name}_{top:04d}_{left:04d}',
                    _window(high, top, left, SUB_SIZE),
                    _window(
                        low, top // SCALE, left // SCALE, SUB_SIZE // SCALE
                    ),
                )


def load(photo: Photo) -> np.ndarray:
    """Read a photo, cut to a multiple of the scale.

    Args:
        photo (Photo): What to read.

    Returns:
        np.ndarray: RGB image of shape ``(H, W, 3)``, ``uint8``.

    Raises:
        FileNotFoundError: If scikit-image, or the photo in it, is missing.
    """
    spec = find_spec('skimage')
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            'scikit-image, whose wheel holds the photos, is not installed; '
            'run `pip install scikit-image`.'
        )
    path = Path(spec.origin).parent / 'data' / photo.file
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} is missing: this build of scikit-image comes without '
            'its sample photos; install the wheel from PyPI.'
        )
    image = np.asarray(Image.open(path).convert('RGB'))
    image = image[:, photo.left : photo.right]
    height, width = (size // SCALE * SCALE for size in image.shape[:2])
    return image[:height, :width]


def downscale(image: np.ndarray) -> np.ndarray:
    """Shrink an image 4x like MATLAB's ``imresize(image, 1 / 4)``.

    Pillow's bicubic is the same antialiased Keys kernel (a = -0.5) on the
    same pixel grid. Two of its habits differ and are avoided: it cuts the
    kernel off at the border, where MATLAB mirrors the image, and it rounds
    8-bit images between the two axes.

    Args:
        image (np.ndarray): Image of shape ``(4 * h, 4 * w, 3)``, ``uint8``.

    Returns:
        np.ndarray: Image of shape ``(h, w, 3)``, ``uint8``.
    """
    border = (SCALE * MARGIN, SCALE * MARGIN)
    padded = np.pad(image, (border, border, (0, 0)), mode='symmetric')
    height, width = (size // SCALE for size in padded.shape[:2])
    channels = [
        Image.fromarray(channel).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for channel in np.moveaxis(padded.astype(np.float32), -1, 0)
    ]
    low = np.stack([np.asarray(channel) for channel in channels], axis=-1)
    low = low[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return np.floor(low.clip(0, 255) + 0.5).astype(np.uint8)


def _window(image: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    return image[top : top + size, left : left + size]


def _write(
    folder: Path, samples: list[tuple[str, np.ndarray, np.ndarray]]
) -> None:
    high_dir, low_dir = folder / 'HR', folder / f'LR_bicubic_X{SCALE}'
    high_dir.mkdir(parents=True)
    low_dir.mkdir()
    for name, high, low in samples:
        Image.fromarray(high).save(high_dir / f'{name}.png')
        Image.fromarray(low).save(low_dir / f'{name}.png')


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Make a small x4 super-resolution data set from the '
        'photos inside the scikit-image wheel. Nothing is downloaded.'
    )
    parser.add_argument(
        '--out',
        default='data/sample_sr',
        help='folder to create (default: %(default)s)',
    )
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    summary = prepare(parse_args().out)
    print(
        f'{summary.out_dir}: {summary.num_train} training pairs '
        f'(HR {SUB_SIZE}x{SUB_SIZE}), {summary.num_val} validation pairs, '
        f'x{SCALE}, {"written" if summary.created else "already complete"}.'
    )


if __name__ == '__main__':
    main()
