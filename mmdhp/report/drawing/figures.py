"""The figures of a report. Each is drawn at a width, in inches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..logs import Course
from .style import LIGHT, NARROW, POINTS

_COLUMNS, _ROWS = 160, 60  # cells of the map of histograms


@dataclass(frozen=True)
class Layer:
    """A bar of the chart of channels.

    Args:
        name (str): Dotted name of the layer, or of the group.
        kept (int): Channels that are left.
        original (int): That it had.
        searched (int): Of which the search chose; more than ``original`` in
            a widened network.
    """

    name: str
    kept: int
    original: int
    searched: int


def draw_channels(layers: Sequence[Layer], width: float) -> Figure:
    """Bars: channels that are left, over those that there were."""
    names = short_names([layer.name for layer in layers])
    narrow = width <= NARROW
    step = 0.38 if narrow else 0.2
    figure = Figure(figsize=(width, step * len(layers) + 0.55))
    axes = figure.subplots()
    rows = list(range(len(layers)))
    bar = 0.42 if narrow else 0.72
    whole = [max(layer.original, layer.searched) for layer in layers]
    axes.barh(rows, whole, bar, color=LIGHT['bar'])
    axes.barh(rows, [la.kept for la in layers], bar, color=LIGHT['kept'])
    for row, layer in zip(rows, layers):
        if layer.searched != layer.original:
            axes.plot(
                [layer.original] * 2,
                [row - bar / 2, row + bar / 2],
                color=LIGHT['text'],
            )
        axes.annotate(
            f'{layer.kept} / {layer.original}',
            (whole[row], row),
            (4, 0),
            textcoords='offset points',
            va='center',
            color=LIGHT['muted'],
        )
        if narrow:
            axes.text(0, row - 0.46, names[row], va='center')
    axes.set(ylim=(len(layers) - 0.4, -0.9 if narrow else -0.6))
    axes.set_yticks(rows, [] if narrow else names, color=LIGHT['text'])
    axes.set_xlim(0, 1.16 * max(whole))
    axes.set_xlabel('channels')
    axes.grid(False, axis='y')
    return figure


def short_names(names: Sequence[str]) -> list[str]:
    """Names without what they all begin with, and not too long.

    Examples:
        >>> short_names(['backbone.stem', 'backbone.layer1.conv'])
        ['stem', 'layer1.conv']
    """
    parts = [name.split('.') for name in names]
    shared = 0
    while all(len(p) > shared + 1 for p in parts) and parts:
        if len({p[shared] for p in parts}) > 1:
            break
        shared += 1
    return [_fit('.'.join(p[shared:]), 40) for p in parts]


def _fit(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    half = (length - 1) // 2
    return f'{name[:half]}…{name[-half:]}'


def draw_course(
    course: Course,
    cut: Optional[int],
    quality: tuple[str, Sequence[int], Sequence[float]],
    width: float,
) -> Figure:
    """Costs that are left, the measure of validations, and the loss.

    Args:
        course (Course): Of a run.
        cut (int, optional): Iteration of the transition.
        quality (tuple): Name of a measure, iterations and values.
        width (float): In inches.
    """
    curves = _ratio_curves(course)
    panels = [bool(curves), bool(quality[1]), bool(course.series('loss')[0])]
    figure = Figure(figsize=(width, 0.4 + 1.7 * max(sum(panels), 1)))
    axes = iter(
        figure.subplots(
            max(sum(panels), 1), sharex=True, squeeze=False
        ).ravel()
    )
    drawn: list[Axes] = []
    if panels[0]:
        drawn.append(_draw_ratios(next(axes), curves))
    if panels[1]:
        drawn.append(_draw_line(next(axes), *quality, 'other', marker=True))
    if panels[2]:
        loss = course.series('loss')
        drawn.append(_draw_line(next(axes), 'training loss', *loss, 'muted'))
    for axis in drawn:
        if cut:
            axis.axvline(cut, color=LIGHT['gone'], lw=1, ls=(0, (4, 3)))
    if drawn:
        _name_stages(drawn[0], cut)
        drawn[-1].set_xlabel('iterations')
        drawn[-1].set_xlim(left=0)
    return figure


def _ratio_curves(course: Course) -> dict[str, tuple[list, list]]:
    """MACs and parameters left, in per cent, over iterations."""
    curves = {}
    for key, label in (('macs', 'MACs'), ('params', 'parameters')):
        steps = [look['iter'] for look in course.looks]
        values = [look[key] for look in course.looks]
        if course.cut is not None:
            last = [e['iter'] for e in course.training + course.validations]
            steps += [course.cut['iter'], max(last + [course.cut['iter']])]
            values += [course.cut[key]] * 2
        if not steps:
            steps, values = course.series(f'{key}_ratio')
        if steps:
            curves[label] = (steps, [100 * value for value in values])
    return curves


def _draw_ratios(axes: Axes, curves: dict) -> Axes:
    for (label, line), colour in zip(curves.items(), ('kept', 'other')):
        marker = 'o' if len(line[0]) < 3 else ''
        axes.plot(
            *line, color=LIGHT[colour], label=label, marker=marker, ms=3.5
        )
    axes.set_title('left of the original, %')
    axes.set_ylim(0, 1.06 * max(max(values) for _, values in curves.values()))
    axes.legend(loc='lower left', fontsize=POINTS - 1, ncols=2)
    return axes


def _draw_line(
    axes: Axes,
    title: str,
    steps: Sequence[int],
    values: Sequence[float],
    colour: str,
    *,
    marker: bool = False,
) -> Axes:
    dots = 'o' if marker and len(steps) < 40 else ''
    axes.plot(steps, values, color=LIGHT[colour], marker=dots, ms=3.5)
    axes.set_title(title)
    return axes


def _name_stages(axes: Axes, cut: Optional[int]) -> None:
    if cut:
        axes.annotate(
            'cut',
            (cut, 1),
            (3, -2),
            xycoords=('data', 'axes fraction'),
            textcoords='offset points',
            va='top',
            color=LIGHT['gone'],
            fontsize=POINTS - 1,
        )


def draw_histograms(looks: Sequence[dict], width: float) -> Figure:
    """A map: how many units have which value, over the search.

    Args:
        looks (Sequence[dict]): Of a history, at least one.
        width (float): In inches.
    """
    found = [look['histogram'] for look in looks]
    low = min(h['low'] for h in found)
    high = max(h['high'] for h in found)
    grid = np.linspace(low, high, _ROWS + 1)
    shares = np.stack([shares_in(h, h['counts'], grid) for h in found], 1)
    steps = [look['iter'] for look in looks]
    columns = np.searchsorted(steps, np.linspace(0, steps[-1], _COLUMNS))
    shares = shares[:, columns.clip(max=len(steps) - 1)]  # (rows, columns)
    image = np.zeros((*shares.shape, 4))
    image[..., :3] = [0x3A / 255, 0x7F / 255, 0xC4 / 255]  # in both themes
    image[..., 3] = (shares / max(shares.max(), 1e-12)) ** 0.4
    figure = Figure(figsize=(width, 2.9))
    axes = figure.subplots()
    axes.imshow(
        image,
        origin='lower',
        aspect='auto',
        interpolation='nearest',
        extent=(0, steps[-1], low, high),
    )
    _mark_threshold(axes, found[-1]['threshold'])
    axes.grid(False)
    axes.set(xlabel='iterations of the search')
    axes.set_title(found[-1]['name'])
    return figure


def shares_in(
    histogram: dict[str, Any], counts: Sequence[int], grid: np.ndarray
) -> np.ndarray:
    """Share of units in other bins, each count spread over its own.

    Args:
        histogram (dict): With ``low`` and ``high``.
        counts (Sequence[int]): In bins of equal width.
        grid (np.ndarray): Edges of the other bins, shape ``(n + 1, )``.

    Returns:
        np.ndarray: Shape ``(n, )``.

    Examples:
        >>> shares_in({'low': 0, 'high': 2}, [3, 1], np.array([0, 1, 2]))
        array([0.75, 0.25])
    """
    edges = np.linspace(histogram['low'], histogram['high'], len(counts) + 1)
    total = np.concatenate([[0], np.cumsum(counts)])
    return np.diff(np.interp(grid, edges, total)) / max(total[-1], 1)


def _mark_threshold(axes: Axes, threshold: Optional[float]) -> None:
    if threshold is not None:
        axes.axhline(threshold, color=LIGHT['gone'], lw=1, ls=(0, (4, 3)))


def draw_decision(histogram: dict[str, Any], width: float) -> Figure:
    """Bars: values at the cut, of units that stay and that go."""
    kept, gone = (np.array(histogram[key]) for key in ('kept', 'gone'))
    edges = np.linspace(histogram['low'], histogram['high'], len(kept) + 1)
    figure = Figure(figsize=(width, 2.5))
    axes = figure.subplots()
    size = np.diff(edges)
    for counts, bottom, key, label in (
        (gone, 0 * gone, 'gone', f'removed ({gone.sum()})'),
        (kept, gone, 'kept', f'kept ({kept.sum()})'),
    ):
        axes.bar(
            edges[:-1],
            counts,
            size,
            bottom=bottom,
            align='edge',
            color=LIGHT[key],
            label=label,
        )
    axes.set(xlabel=f'{histogram["name"]} at the cut')
    axes.set_title('channel units')
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(False, axis='x')
    axes.legend(fontsize=POINTS - 1)
    return figure
