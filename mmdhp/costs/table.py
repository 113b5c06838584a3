"""Tables of measured times over widths, and what lies between."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from mmdhp.graph import ChannelGraph, ProductCost

from .operators import Operator, Width

FRACTIONS = (0.125, 0.25, 0.5, 0.75, 1.0)
BLOCK = 16  # channels that vector units compute at once: 512 bits
_MANY = 8  # blocks of which a single one hardly counts


def points(size: int, divisor: int = 1) -> list[int]:
    """Numbers of units at which a width is measured, ascending.

    Kernels compute blocks of channels, so time rises in steps behind every
    block: the points lie on both sides of steps, or in the middle between
    steps where there are many of them.

    Args:
        size (int): All units.
        divisor (int): Of what may be kept. Defaults to 1.

    Examples:
        >>> points(64)
        [1, 16, 17, 32, 33, 48, 49, 64]
        >>> points(64, 8)
        [8, 16, 24, 32, 40, 48, 56, 64]
        >>> points(12), points(512)
        ([1, 2, 3, 6, 9, 12], [1, 56, 120, 248, 376, 512])
    """
    blocks = math.ceil(size / BLOCK)
    found = [1, size]
    for fraction in FRACTIONS[:-1]:
        edge = BLOCK * round(blocks * fraction)
        if blocks == 1:
            found.append(round(size * fraction))
        elif blocks < _MANY:
            found += [edge, edge + 1]
        else:
            found.append(edge - BLOCK // 2)
    found = [math.ceil(max(own, 1) / divisor) * divisor for own in found]
    return sorted({min(own, size) for own in found})


def grid(operator: Operator, divisor: int) -> list[tuple[int, ...]]:
    """Widths at which an operator is measured.

    All combinations of one or two variables; of more, the diagonal.
    """
    axes = [points(size, divisor) for size in operator.sizes]
    if len(axes) <= 2:
        return list(product(*axes))
    diagonal = (
        tuple(max(round(size * f), 1) for size in operator.sizes)
        for f in FRACTIONS
    )
    return list(dict.fromkeys(diagonal))


def monotone(times: Tensor) -> Tensor:
    """The mean of the nearest rising tables above and below, per axis.

    More units are never faster but for noise, and a rising cost is what the
    search for a threshold relies on.

    Args:
        times (Tensor): Measured, any number of axes.
    """
    for axis in range(times.dim()):
        above = times.cummax(axis).values
        below = times.flip(axis).cummin(axis).values.flip(axis)
        times = (above + below) / 2
    return times


@dataclass(frozen=True, eq=False)
class Table:
    """Times of one operator over one or two coordinates.

    Args:
        rows (Tensor): Knots of the first coordinate, ascending.
        columns (Tensor): Of the second one; a single 0 if there is none.
        times (Tensor): Milliseconds, ``(rows, columns)``, rising.
    """

    rows: Tensor
    columns: Tensor
    times: Tensor

    @classmethod
    def of(
        cls, operator: Operator, divisor: int, times: Sequence[float]
    ) -> 'Table':
        """From measurements at the widths of :func:`grid`."""
        axes = [points(size, divisor) for size in operator.sizes]
        if len(axes) > 2:
            widths = grid(operator, divisor)
            axes = [[_elements(operator, own) for own in widths]]
        knots = [torch.tensor(axis).double() for axis in axes]
        knots += [torch.zeros(1).double()] * (2 - len(knots))
        shape = [len(axis) for axis in knots]
        values = torch.tensor(times).double().reshape(shape)
        return cls(knots[0], knots[1], monotone(values))


def _elements(operator: Operator, widths: Sequence[int]) -> int:
    """Elements of all inputs with open widths."""
    total = 0
    for index, shape in enumerate(operator.shapes):
        if any(isinstance(size, Width) for size in shape):
            volume = 1
            for size in operator.shape(index, widths):
                volume *= size
            total += volume
    return total


def coordinates(operator: Operator) -> list[list[tuple[float, list]]]:
    """What an operator's table is read at, as terms of a product cost.

    Each coordinate is the sum of its terms: a width, or for operators of more
    than two variables, the elements of all inputs with open widths.
    """
    if len(operator.variables) <= 2:
        return [[(1.0, [units])] for units in operator.variables]
    terms = []
    for shape in operator.shapes:
        factor, axes = 1.0, []
        for size in shape:
            if isinstance(size, Width):
                factor *= size.multiple
                axes.append(operator.variables[size.variable])
            else:
                factor *= size
        if axes:
            terms.append((factor, axes))
    return [terms]


class Interpolation:
    """The sum of many tables, each bilinear between its knots.

    Beyond the knots, a table is as at the nearest one.

    Args:
        graph (ChannelGraph): The graph that is pruned.
        operators (Sequence[Operator]): One per table.
        tables (Sequence[Table]): Their tables.
        counts (Sequence[int]): How often each operator runs.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        operators: Sequence[Operator],
        tables: Sequence[Table],
        counts: Sequence[int],
    ) -> None:
        self.graph = graph
        terms, owners = [], []
        for index, operator in enumerate(operators):
            for axis, own in enumerate(coordinates(operator)):
                terms += own
                owners += [2 * index + axis] * len(own)
        self._terms = ProductCost(terms, graph.num_units)
        self._owners = torch.tensor(owners, dtype=torch.long)
        self._rows = _padded([table.rows for table in tables])
        self._columns = _padded([table.columns for table in tables])
        shape = (len(tables), self._rows.shape[1], self._columns.shape[1])
        self._times = torch.zeros(shape).double()
        for times, table in zip(self._times, tables):
            times[:] = table.times.max()
            times[: len(table.rows), : len(table.columns)] = table.times
        self._counts = torch.tensor(counts).double()

    def __call__(self, gates: Tensor) -> Tensor:
        """Milliseconds of all operators, a float64 scalar.

        Args:
            gates (Tensor): Gates, float64, shape ``(U, )``, on the CPU.
        """
        return (self._counts * self.times(gates)).sum()

    def times(self, gates: Tensor) -> Tensor:
        """Milliseconds of one run of each operator, shape ``(tables, )``."""
        values = self._terms.terms(self.graph.extend(gates))
        places = values.new_zeros(2 * len(self._counts))
        places = places.index_add(0, self._owners, values)
        row, down = _locate(self._rows, places[0::2])
        column, right = _locate(self._columns, places[1::2])
        table = torch.arange(len(self._counts))
        upper = self._times[table, row]
        lower = self._times[table, row + 1]
        between = upper + down[:, None] * (lower - upper)  # (tables, columns)
        left = between[table, column]
        return left + right * (between[table, column + 1] - left)


def _padded(knots: Sequence[Tensor]) -> Tensor:
    """Knots of equal number, at least two, for all tables."""
    most = max([2, *map(len, knots)])
    rows = [
        torch.cat([own, own[-1] + torch.arange(1, most - len(own) + 1)])
        for own in knots
    ]
    return torch.stack(rows) if rows else torch.zeros(0, 2).double()


def _locate(knots: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Knot below each place, and the fraction of the way to the next one.

    A place on a knot counts to the stretch below, where units may go.
    """
    found = torch.searchsorted(knots, places.detach()[:, None].contiguous())
    below = (found[:, 0] - 1).clamp(0, knots.shape[1] - 2)
    table = torch.arange(len(knots))
    start, stop = knots[table, below], knots[table, below + 1]
    places = torch.where(places < start, start, places)
    return below, (places - start) / (stop - start)
