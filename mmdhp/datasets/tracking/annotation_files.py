"""Reads the text files of tracking benchmarks."""

import os
import os.path as osp
import re

import numpy as np

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp')
_SEPARATORS = re.compile(r'[,\s]+')


def read_numbers(path: str, columns: int) -> np.ndarray:
    """Read a table of numbers, separated by commas, tabs or spaces.

    Args:
        path (str): The file. Rows of missing values may be written as NaN.
        columns (int): Numbers per line.

    Returns:
        ndarray: Shape ``(lines, columns)``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line holds something else.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'There is no annotation file {path}. docs/datasets.md shows the '
            'layout that is expected.'
        )
    rows = []
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = [float(v) for v in _SEPARATORS.split(line.strip()) if v]
            except ValueError:
                row = []
            if len(row) != columns:
                raise ValueError(
                    f'{path}, line {number} is {line.strip()!r}, but '
                    f'{columns} numbers are expected.'
                )
            rows.append(row)
    return np.array(rows, dtype=np.float64).reshape(-1, columns)


def read_flags(path: str) -> np.ndarray:
    """Read whole numbers in one line or one per line, shape ``(T, )``.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'There is no annotation file {path}. docs/datasets.md shows the '
            'layout that is expected.'
        )
    with open(path, encoding='utf-8') as file:
        words = [v for v in _SEPARATORS.split(file.read()) if v]
    return np.array([int(float(v)) for v in words], dtype=np.int64)


def read_lines(path: str) -> list[str]:
    """Lines of a file that are not empty."""
    with open(path, encoding='utf-8') as file:
        return [line.strip() for line in file if line.strip()]


def count_images(folder: str) -> int:
    """Number of images in a folder.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    return len(list_images(folder))


def list_images(folder: str) -> list[str]:
    """Names of the images in a folder, sorted by name.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not osp.isdir(folder):
        raise FileNotFoundError(
            f'There is no folder of frames {folder}. docs/datasets.md shows '
            'the layout that is expected.'
        )
    names = os.listdir(folder)
    return sorted(n for n in names if n.lower().endswith(IMAGES))
