"""Reads a score map: where the target is, and how far that can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NORMAL = 'normal'
HARD_NEGATIVE = 'hard_negative'
UNCERTAIN = 'uncertain'
NOT_FOUND = 'not_found'


@dataclass(frozen=True)
class Location:
    """What a score map says.

    Args:
        flag (str): How far it can be trusted.
        shift (tuple[float, float]): ``x, y`` of the peak in cells, from the
            centre of the map.
        score (float): Highest score.
    """

    flag: str
    shift: tuple[float, float]
    score: float


@dataclass(frozen=True)
class Localizer:
    """Finds the target's peak among those of distractors.

    Source: the code of Bhat et al., DiMP, ICCV 2019, arXiv:1904.07220.

    Args:
        no_target_min_score (float): Lower maxima mean that there is no
            target. Defaults to 0.25.
        distractor_thres (float): A second peak above this fraction of the
            first one is a distractor. Defaults to 0.8.
        hard_neg_thres (float): Above this one, a hard negative. Defaults to
            0.5.
        target_neighborhood_scale (float): Around the first peak, so many
            targets are hidden when the second one is sought. Defaults to 2.2.
        displacement_scale (float): Peaks within this fraction of half the map
            are near. Defaults to 0.8.
        subcell (bool): Whether the peak is that of a parabola through its
            cell and both neighbours, along either axis; not in the paper,
            for score maps in which the target covers few cells. Defaults to
            False.
    """

    no_target_min_score: float = 0.25
    distractor_thres: float = 0.8
    hard_neg_thres: float = 0.5
    target_neighborhood_scale: float = 2.2
    displacement_scale: float = 0.8
    subcell: bool = False

    def __call__(self, scores: Tensor, cells: Sequence[float]) -> Location:
        """Locate the target.

        Args:
            scores (Tensor): Shape ``(H, W)``; the target was in its centre.
            cells (Sequence[float]): Width and height of the target in cells.
        """
        first, peak = _maximum(scores)
        shift = self._shift(peak, scores)
        if not first >= self.no_target_min_score:  # NaN is no target, either
            return Location(NOT_FOUND, shift, first)
        rest = scores.clone()
        window = [
            _window(position, self.target_neighborhood_scale * n)
            for position, n in zip(peak, (cells[1], cells[0]))
        ]
        rest[window[0], window[1]] = 0
        second, other_peak = _maximum(rest)
        other = self._shift(other_peak, scores)
        if second > self.distractor_thres * first:
            reach = self.displacement_scale * max(scores.shape) / 2
            near, other_near = (
                (x * x + y * y) ** 0.5 < reach for x, y in (shift, other)
            )
            if near == other_near:
                return Location(UNCERTAIN, shift, first)
            chosen = shift if near else other
            return Location(HARD_NEGATIVE, chosen, first)
        if (
            second > self.hard_neg_thres * first
            and second > self.no_target_min_score
        ):
            return Location(HARD_NEGATIVE, shift, first)
        return Location(NORMAL, shift, first)

    def _shift(
        self, peak: tuple[int, int], scores: Tensor
    ) -> tuple[float, float]:
        """``x, y`` of a peak in cells, from the centre of the map."""
        row, column = (float(n) for n in peak)
        if self.subcell:
            row += _summit(scores[:, peak[1]], peak[0])
            column += _summit(scores[peak[0]], peak[1])
        height, width = scores.shape
        return column - (width - 1) / 2, row - (height - 1) / 2


def _maximum(scores: Tensor) -> tuple[float, tuple[int, int]]:
    """Highest score, and its row and column."""
    value, index = torch.max(scores.flatten(), 0)
    row, column = divmod(int(index), scores.shape[1])
    return float(value), (row, column)


def _summit(line: Tensor, index: int) -> float:
    """Where a parabola through a maximum and its neighbours peaks.

    Returns:
        float: In cells from the maximum, within half a cell; 0 at the ends of
        the line and where it is flat.
    """
    if not 0 < index < len(line) - 1:
        return 0.0
    before, top, behind = line[index - 1 : index + 2].tolist()
    curvature = 2 * top - before - behind
    if not curvature > 0:
        return 0.0
    offset = (behind - before) / (2 * curvature)
    return min(max(offset, -0.5), 0.5)  # it may be no maximum of the map


def _window(position: int, cells: float) -> slice:
    start = round(position - cells / 2)
    return slice(max(start, 0), max(round(position + cells / 2 + 1), 0))
