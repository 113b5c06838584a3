"""What a histogram of a search shows."""

from dataclasses import dataclass
from typing import Optional

from torch import Tensor


@dataclass(frozen=True)
class Distribution:
    """One value per unit that tells how far a search has separated them.

    Args:
        name (str): What the values are, for axes and titles.
        values (Tensor): Any floating dtype and device, shape ``(U, )``.
        threshold (float, optional): Below it a unit counts as pruned; None
            if the method ranks without a threshold of its own.
        bounds (tuple[float, float], optional): Smallest and largest possible
            value. Defaults to None, those at hand.
    """

    name: str
    values: Tensor
    threshold: Optional[float] = None
    bounds: Optional[tuple[float, float]] = None
