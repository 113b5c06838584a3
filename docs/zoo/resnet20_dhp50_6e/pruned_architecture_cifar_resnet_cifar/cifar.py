"""MMPretrain's CIFAR data sets, with an error that helps."""

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from mmengine.registry import DATASETS


@DATASETS.register_module(force=True, name='CIFAR10')
def build_cifar10(
    data_root: str, split: str = 'train', download: bool = False, **kwargs: Any
) -> Dataset:
    """Build MMPretrain's ``CIFAR10``, without a download unless asked.

    MMPretrain's own default is to download 170 MB when files are missing; a
    machine without network waits for a timeout, and learns nothing about
    where files are expected.

    Args:
        data_root (str): Folder that holds ``cifar-10-batches-py``.
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        download (bool): Whether missing files are downloaded. Defaults to
            False.
        **kwargs: Of MMPretrain's data set, such as ``pipeline``.

    Returns:
        Dataset: MMPretrain's data set.

    Raises:
        FileNotFoundError: If files are missing; says what to download.
        ValueError: If files differ from the published ones.
    """
    from mmpretrain.datasets import CIFAR10  # heavy, and optional

    if not download:
        _check_files(CIFAR10, data_root)
    return CIFAR10(data_root, split=split, download=download, **kwargs)


@DATASETS.register_module(force=True, name='CIFAR100')
def build_cifar100(
    data_root: str, split: str = 'train', download: bool = False, **kwargs: Any
) -> Dataset:
    """Build MMPretrain's ``CIFAR100``; like :func:`build_cifar10`.

    Args:
        data_root (str): Folder that holds ``cifar-100-python``.
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        download (bool): Whether missing files are downloaded. Defaults to
            False.
        **kwargs: Of MMPretrain's data set, such as ``pipeline``.

    Returns:
        Dataset: MMPretrain's data set.

    Raises:
        FileNotFoundError: If files are missing; says what to download.
        ValueError: If files differ from the published ones.
    """
    from mmpretrain.datasets import CIFAR100  # heavy, and optional

    if not download:
        _check_files(CIFAR100, data_root)
    return CIFAR100(data_root, split=split, download=download, **kwargs)


def _check_files(kind: Any, data_root: str) -> None:
    """Compare a folder with the file list of a MMPretrain data set."""
    from mmpretrain.datasets.utils import check_md5

    folder = Path(data_root) / kind.base_folder
    published = dict([*kind.train_list, *kind.test_list])
    missing = [name for name in published if not (folder / name).exists()]
    advice = (
        f'Download {kind.url} and unpack it in {data_root}, so that '
        f'{folder} holds {", ".join(published)}; or point data_root of the '
        'data loaders at the folder where it lies, or set download=True '
        'there.'
    )
    if missing:
        raise FileNotFoundError(
            f'{kind.__name__}: {", ".join(missing)} not found in '
            f'{folder.resolve()}. {advice}'
        )
    changed = [
        name
        for name, md5 in published.items()
        if not check_md5(str(folder / name), md5)
    ]
    if changed:
        raise ValueError(
            f'{kind.__name__}: {", ".join(changed)} in {folder.resolve()} '
            f'are damaged or not the published files (md5). {advice}'
        )
