"""The cost term of HSN's objective, in shares of the total cost."""

import math
from collections.abc import Sequence

from mmdhp.graph import ChannelGraph


def log_penalty(
    ratio: float, target: float, epsilon: float
) -> tuple[float, float]:
    """``R = log(|t - p| / ε + 1)`` and its derivative in t.

    The paper's ``log(|T - p·T_total| + 1)`` is the same function whatever
    unit T is counted in: with ε = unit / T_total. In raw MACs ε is about 1e-9
    and the derivative explodes near the target; with ε = 1 it is at most 1.

    Args:
        ratio (float): t, the share of the cost that is left.
        target (float): p.
        epsilon (float): ε.

    Returns:
        tuple[float, float]: R and ∂R/∂t, which is 0 at the target.

    Examples:
        >>> log_penalty(0.75, 0.5, 0.25)
        (0.6931471805599453, 2.0)
    """
    gap = ratio - target
    sign = float(gap > 0) - float(gap < 0)
    return math.log1p(abs(gap) / epsilon), sign / (abs(gap) + epsilon)


def ungated_macs(graph: ChannelGraph, kinds: Sequence[str]) -> int:
    """MACs of the layers that no prunable unit enters or leaves.

    Args:
        graph (ChannelGraph): The graph.
        kinds (Sequence[str]): What counts as MACs.
    """
    total = 0.0
    for _, _, factor, rows, columns in graph.layer_terms(kinds):
        if all(unit >= graph.num_units for unit in (*rows, *columns)):
            total += factor * max(len(rows), 1) * max(len(columns), 1)
    return round(total)
