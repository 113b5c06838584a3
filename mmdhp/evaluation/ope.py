"""One-pass evaluation of a tracker, by the rules of every benchmark.

Rules and thresholds are those of the published toolkits: OTB (Wu et al.,
TPAMI 2015), LaSOT (arXiv:1809.07845), TrackingNet (arXiv:1803.10794) and
GOT-10k (arXiv:1810.11981).
"""

from dataclasses import dataclass

import numpy as np

# Exact quotients: 0.05 * k differs from k / 20 in the last bit for some k.
OVERLAPS = np.arange(21) / 20
PIXELS = np.arange(51.0)
FRACTIONS = np.arange(51) / 100
PRECISION_AT = 20.0  # pixels
NORM_PRECISION_AT = 0.2


@dataclass(frozen=True)
class FrameScores:
    """How well every frame of a sequence was tracked; shapes ``(T, )``.

    Args:
        overlap (ndarray): Intersection over union; -1 in frames that cannot
            be a success.
        error (ndarray): Distance of the centres in pixels.
        norm_error (ndarray): The same, both axes divided by the true size.
    """

    overlap: np.ndarray
    error: np.ndarray
    norm_error: np.ndarray

    def curves(self) -> dict[str, np.ndarray]:
        """Shares of frames by threshold.

        Returns:
            dict[str, ndarray]: ``success`` at :data:`OVERLAPS` (more than),
            ``precision`` at :data:`PIXELS` and ``norm_precision`` at
            :data:`FRACTIONS` (at most).
        """
        with np.errstate(invalid='ignore'):
            return {
                'success': (self.overlap[:, None] > OVERLAPS).mean(0),
                'precision': (self.error[:, None] <= PIXELS).mean(0),
                'norm_precision': (self.norm_error[:, None] <= FRACTIONS).mean(
                    0
                ),
            }


def repaired(boxes: np.ndarray) -> np.ndarray:
    """Repeat the previous box where one is not finite or has no area.

    Args:
        boxes (ndarray): ``x, y, w, h``, shape ``(T, 4)``.

    Returns:
        ndarray: Shape ``(T, 4)``.
    """
    boxes = boxes.copy()
    for index in range(1, len(boxes)):
        box = boxes[index]
        if not np.isfinite(box).all() or (box[2:] <= 0).any():
            boxes[index] = boxes[index - 1]
    return boxes


def box_overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes ``x, y, w, h``, shape ``(T, )``."""
    first = np.maximum(a[:, :2], b[:, :2])
    last = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inner = np.clip(last - first, 0, None).prod(1)
    union = a[:, 2:].prod(1) + b[:, 2:].prod(1) - inner
    return inner / np.maximum(union, np.finfo(float).tiny)


def score_frames(
    found: np.ndarray,
    true: np.ndarray,
    visible: np.ndarray,
    *,
    only_visible: bool = False,
    invalid: str = 'miss',
) -> FrameScores:
    """Compare boxes with the truth.

    The first frame gets the true box. Frames without a true box of positive
    size are misses.

    Args:
        found (ndarray): ``x, y, w, h``, shape ``(T, 4)``.
        true (ndarray): Likewise.
        visible (ndarray): Whether the target is to be seen, shape ``(T, )``.
        only_visible (bool): Whether the others are misses, too; the number of
            frames that is divided by stays. Defaults to False.
        invalid (str): ``'miss'``, or ``'toolkit'``: as published tools do,
            the errors of frames without a true size, but not of invisible
            ones, count as hits. Defaults to ``'miss'``.
    """
    found = repaired(np.concatenate([true[:1], found[1:]]))
    empty = ~(np.isfinite(true).all(1) & (true[:, 2:] > 0).all(1))
    safe = np.where(empty[:, None], 1.0, true)
    gap = found[:, :2] + found[:, 2:] / 2 - safe[:, :2] - safe[:, 2:] / 2
    overlap = np.where(empty, -1.0, box_overlaps(found, safe))
    wrong = -1.0 if invalid == 'toolkit' else np.inf
    error = np.where(empty, wrong, np.linalg.norm(gap, axis=1))
    norm_error = np.linalg.norm(gap / safe[:, 2:], axis=1)
    norm_error = np.where(empty, wrong, norm_error)
    if only_visible:
        overlap = np.where(visible, overlap, -1.0)
        error = np.where(visible, error, np.inf)
        norm_error = np.where(visible, norm_error, np.inf)
    return FrameScores(overlap, error, norm_error)


def summarize(curves: dict[str, np.ndarray]) -> dict[str, float]:
    """The three numbers of OTB and LaSOT, in percent.

    Success is the mean over 21 thresholds; precision is at 20 pixels,
    normalised precision at 0.2.
    """
    at = int(np.flatnonzero(PIXELS == PRECISION_AT)[0])
    norm_at = int(np.flatnonzero(FRACTIONS == NORM_PRECISION_AT)[0])
    return {
        'success': 100 * float(curves['success'].mean()),
        'norm_precision': 100 * float(curves['norm_precision'][norm_at]),
        'precision': 100 * float(curves['precision'][at]),
    }


def summarize_areas(scores: FrameScores) -> dict[str, float]:
    """The three numbers of TrackingNet's server, in percent: areas.

    Trapezoids over 21 points each: success over 0 .. 1, precision over 0 ..
    50 pixels, normalised precision over 0 .. 0.5, axes scaled to 0 .. 1.
    """

    def area(shares: np.ndarray) -> float:
        return 100 * float((shares[1:] + shares[:-1]).sum() / 2 / 20)

    unit = np.arange(21) / 20
    return {
        'success': area((scores.overlap[:, None] > unit).mean(0)),
        'norm_precision': area(
            (scores.norm_error[:, None] <= 0.5 * unit).mean(0)
        ),
        'precision': area((scores.error[:, None] <= 50 * unit).mean(0)),
    }


def got10k_overlaps(
    found: np.ndarray,
    true: np.ndarray,
    visible: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Overlaps of the frames that GOT-10k counts, boxes clipped to the image.

    Args:
        found (ndarray): ``x, y, w, h``, shape ``(T, 4)``.
        true (ndarray): Likewise.
        visible (ndarray): Shape ``(T, )``.
        size (tuple[int, int]): Height and width of the frames.

    Returns:
        ndarray: Of the visible frames but the first, in [0, 1].
    """
    found = _clipped(repaired(np.concatenate([true[:1], found[1:]])), size)
    counted = visible & np.isfinite(true).all(1)
    counted[0] = False
    return box_overlaps(found[counted], _clipped(true[counted], size))


def _clipped(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    limit = np.array([size[1], size[0]], dtype=float)
    first = np.clip(boxes[:, :2], 0, limit)
    last = np.clip(boxes[:, :2] + boxes[:, 2:], 0, limit)
    return np.hstack([first, last - first])


def summarize_got10k(overlaps: np.ndarray) -> dict[str, float]:
    """Average overlap and success rates over all frames, in percent."""
    return {
        'AO': 100 * float(overlaps.mean()),
        'SR_0.50': 100 * float((overlaps > 0.5).mean()),
        'SR_0.75': 100 * float((overlaps > 0.75).mean()),
    }
