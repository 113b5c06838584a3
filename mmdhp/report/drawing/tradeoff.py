"""This run among published ones, in the plane of cost and error."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import LIGHT, POINTS


@dataclass(frozen=True)
class Point:
    """A network in the plane of cost and error.

    Args:
        name (str): Written beside it.
        macs (float): Per cent of the original's.
        value (float): Error or quality.
        own (bool): Of this run, not of a paper.
    """

    name: str
    macs: float
    value: float
    own: bool


def draw_tradeoff(points: Sequence[Point], label: str, width: float) -> Figure:
    """Quality against MACs: this run filled, figures of papers hollow."""
    figure = Figure(figsize=(width, 3.6))
    axes = figure.subplots()
    for point in points:
        colour = LIGHT['kept' if point.own else 'muted']
        face = colour if point.own else 'none'
        axes.scatter(
            point.macs, point.value, 34, edgecolors=colour, facecolors=face
        )
    values = [point.value for point in points]
    space = 0.08 * (max(values) - min(values) or 1.0)
    axes.set_ylim(min(values) - space, max(values) + 1.5 * space)
    axes.set_xlim(0, max(100, *[p.macs for p in points]) * 1.22)
    axes.set(xlabel='MACs, % of the original')
    axes.set_title(label)
    _name_points(axes, points)
    return figure


def _name_points(axes: Axes, points: Sequence[Point]) -> None:
    """Write names in columns right of points that are close, with lines."""
    low, high = axes.get_ylim()
    for column in columns_of(points):
        x = max(point.macs for point in column) + 4
        heights = spread([p.value for p in column], 0.065 * (high - low))
        for point, y in zip(column, heights):
            axes.annotate(
                point.name,
                (point.macs, point.value),
                (x, y),
                va='center',
                fontsize=POINTS - 1,
                color=LIGHT['text' if point.own else 'muted'],
                weight='bold' if point.own else 'normal',
                arrowprops={
                    'arrowstyle': '-',
                    'color': LIGHT['muted'],
                    'lw': 0.5,
                    'shrinkA': 1,
                    'shrinkB': 4,
                },
            )


def columns_of(points: Sequence[Point], gap: float = 15.0) -> list[list]:
    """Points whose costs are close, each list by rising value.

    Args:
        points (Sequence[Point]): At least one.
        gap (float): Between two columns, in per cent of the MACs. Defaults
            to 15.
    """
    columns: list[list[Point]] = []
    for point in sorted(points, key=lambda p: p.macs):
        if not columns or point.macs - columns[-1][-1].macs > gap:
            columns.append([])
        columns[-1].append(point)
    return [sorted(column, key=lambda p: p.value) for column in columns]


def spread(values: Sequence[float], space: float) -> list[float]:
    """Heights near ascending values, at least a space apart.

    Values that crowd are moved to both sides by the same amount.

    Examples:
        >>> spread([1.0, 1.0, 5.0], 1.0)
        [0.5, 1.5, 5.0]
    """
    heaps: list[list[float]] = []
    for value in values:
        heaps.append([value])
        while len(heaps) > 1 and _top(heaps[-2], space) > _bottom(
            heaps[-1], space
        ):
            last = heaps.pop()
            heaps[-1] += last
    return [
        _bottom(heap, space) + (index + 0.5) * space
        for heap in heaps
        for index in range(len(heap))
    ]


def _bottom(heap: Sequence[float], space: float) -> float:
    """Lower edge of a stack of names around the mean of their values."""
    return sum(heap) / len(heap) - len(heap) * space / 2


def _top(heap: Sequence[float], space: float) -> float:
    return _bottom(heap, space) + len(heap) * space
