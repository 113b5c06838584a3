"""Tiny-ImageNet in the layout in which it is published."""

from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

from mmdhp.registry import DATASETS

URL = 'http://cs231n.stanford.edu/tiny-imagenet-200.zip'
SPLITS = ('train', 'val')


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """200 classes of 64x64 images: 100,000 for training, 10,000 to validate.

    Reads the unpacked archive as it is: no image has to be moved::

        tiny-imagenet-200/
        ├── wnids.txt                     one class a line
        ├── words.txt                     WordNet id, tab, names (optional)
        ├── train/WNID/images/*.JPEG
        └── val/{images/, val_annotations.txt}

    Classes are numbered in the order of their sorted WordNet ids, like those
    of a folder-based data set. Every sample has ``img_path`` and
    ``gt_label``, as MMPretrain's transforms expect; about 2 % of the images
    are gray, which ``LoadImageFromFile`` decodes to three channels.

    Args:
        data_root (str): The unpacked folder.
        split (str): ``'train'`` or ``'val'``; the labels of the test images
            are not published. Defaults to ``'train'``.
        **kwargs: Of ``mmengine.dataset.BaseDataset``, such as ``pipeline``.

    Raises:
        ValueError: If there is no such split.
        FileNotFoundError: If files are missing; says what to download.
    """

    def __init__(
        self, data_root: str, split: str = 'train', **kwargs: Any
    ) -> None:
        if split not in SPLITS:
            raise ValueError(
                f'TinyImageNet: split is {split!r}, expected one of {SPLITS} '
                '(the labels of its test images are not published).'
            )
        self.split = split
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List ``img_path`` and ``gt_label`` of every image."""
        root = Path(self.data_root)
        wnids = sorted(_lines(root, 'wnids.txt'))
        self._metainfo.setdefault('classes', _class_names(root, wnids))
        index = {wnid: label for label, wnid in enumerate(wnids)}
        listed = _training if self.split == 'train' else _validation
        return [
            {'img_path': str(path), 'gt_label': index[wnid]}
            for path, wnid in listed(root, wnids)
        ]


def _training(root: Path, wnids: list[str]) -> list[tuple[Path, str]]:
    """Images and WordNet ids of the class folders."""
    found = []
    empty = []
    for wnid in wnids:
        images = sorted((root / 'train' / wnid / 'images').glob('*.JPEG'))
        found += [(path, wnid) for path in images]
        if not images:
            empty.append(wnid)
    if empty:
        raise _missing(
            root,
            f'{len(empty)} of {len(wnids)} classes have no image, such as '
            f'train/{empty[0]}/images/*.JPEG',
        )
    return found


def _validation(root: Path, wnids: list[str]) -> list[tuple[Path, str]]:
    """Images and WordNet ids of the annotation file.

    Raises:
        ValueError: If it names classes that ``wnids`` does not.
    """
    found = []
    for line in _lines(root, 'val/val_annotations.txt'):
        name, wnid = line.split('\t')[:2]
        found.append((root / 'val' / 'images' / name, wnid))
    unknown = sorted({wnid for _, wnid in found} - set(wnids))
    if unknown:
        raise ValueError(
            f'TinyImageNet: val/val_annotations.txt names {unknown[:3]}, '
            f'which wnids.txt does not list; {root} mixes two archives.'
        )
    if not (root / 'val' / 'images').is_dir():
        raise _missing(root, 'there is no folder val/images')
    return found


def _class_names(root: Path, wnids: list[str]) -> list[str]:
    """First English name of every class; its WordNet id without a list."""
    if not (root / 'words.txt').exists():
        return wnids
    names = dict(line.split('\t')[:2] for line in _lines(root, 'words.txt'))
    return [names.get(wnid, wnid).split(',')[0] for wnid in wnids]


def _lines(root: Path, name: str) -> list[str]:
    """Lines of a text file that are not empty."""
    path = root / name
    if not path.exists():
        raise _missing(root, f'there is no {name}')
    lines = path.read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line.strip()]


def _missing(root: Path, problem: str) -> FileNotFoundError:
    return FileNotFoundError(
        f'TinyImageNet: {problem} in {root.resolve()}. Download {URL} '
        f'(237 MB) and unpack it so that {root} holds wnids.txt, train/ and '
        'val/ as published, or point data_root of the data loaders at the '
        'folder where it lies.'
    )
