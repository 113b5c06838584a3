"""Files about a one-pass evaluation: table, plots, submissions."""

import csv
import os
import os.path as osp
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from .ope import FRACTIONS, OVERLAPS, PIXELS

AXES = {
    'success': (OVERLAPS, 'overlap threshold', 'success rate'),
    'precision': (PIXELS, 'error threshold (pixels)', 'precision'),
    'norm_precision': (FRACTIONS, 'normalised error threshold', 'precision'),
}


def table_text(rows: Sequence[Mapping], columns: Sequence[str]) -> str:
    """A table of sequences, one line each.

    Args:
        rows (Sequence[Mapping]): ``sequence``, ``frames`` and numbers.
        columns (Sequence[str]): The numbers to show, in percent.
    """
    width = max([len('sequence'), *(len(row['sequence']) for row in rows)])
    head = f'{"sequence":<{width}}  frames'
    lines = [head + ''.join(f'  {name:>14}' for name in columns)]
    for row in rows:
        numbers = ''.join(f'  {row[name]:14.2f}' for name in columns)
        lines.append(
            f'{row["sequence"]:<{width}}  {row["frames"]:6d}{numbers}'
        )
    return '\n'.join(lines)


def write_table(path: str, rows: Sequence[Mapping]) -> None:
    """Write the table as CSV."""
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_plots(
    folder: str,
    curves: Mapping[str, np.ndarray],
    totals: Mapping[str, float],
    title: str,
) -> list[str]:
    """Draw the curves, means over all sequences.

    Returns:
        list[str]: Paths of the images.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    os.makedirs(folder, exist_ok=True)
    paths = []
    for name, (thresholds, x_label, y_label) in AXES.items():
        figure = Figure(figsize=(5, 4), layout='tight')
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.plot(
            thresholds, curves[name], label=f'{title} [{totals[name]:.1f}]'
        )
        axes.set(xlabel=x_label, ylabel=y_label, ylim=(0, 1))
        axes.set_xlim(0, thresholds[-1])
        axes.grid(alpha=0.3)
        axes.legend()
        paths.append(osp.join(folder, f'{name}.png'))
        figure.savefig(paths[-1], dpi=120)
    return paths


def write_submission(
    folder: str, style: str, video: str, boxes: np.ndarray, seconds: np.ndarray
) -> None:
    """Write the boxes of a video as a benchmark's server wants them.

    Args:
        folder (str): Where to.
        style (str): ``'got10k'``: a folder per video, with times; others: a
            file per video.
        video (str): Name of the video.
        boxes (ndarray): ``x, y, w, h``, shape ``(T, 4)``.
        seconds (ndarray): Per frame, shape ``(T, )``.
    """
    if style == 'got10k':
        folder = osp.join(folder, video)
    os.makedirs(folder, exist_ok=True)
    name = f'{video}_001.txt' if style == 'got10k' else f'{video}.txt'
    np.savetxt(osp.join(folder, name), boxes, fmt='%.3f', delimiter=',')
    if style == 'got10k':
        path = osp.join(folder, f'{video}_time.txt')
        np.savetxt(path, seconds, fmt='%.6f')


def zip_folder(folder: str) -> str:
    """Zip the files of a folder next to it; return the path."""
    path = folder.rstrip(os.sep) + '.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for root, _, files in os.walk(folder):
            for file in sorted(files):
                full = osp.join(root, file)
                archive.write(full, osp.relpath(full, folder))
    return path
