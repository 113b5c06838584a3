"""The samples that a filter is learned from, and their weights."""

from typing import Optional

import torch
from torch import Tensor


class SampleMemory:
    """A fixed number of samples; the initial ones stay for ever.

    Source: the code of Bhat et al., DiMP, ICCV 2019, arXiv:1904.07220.

    Args:
        features (Tensor): Initial samples, shape ``(n, C, H, W)``.
        boxes (Tensor): Their boxes ``x, y, w, h``, shape ``(n, 4)``.
        capacity (int): Samples at most.
        min_init_weight (float): Weight that the initial samples keep
            together.

    Raises:
        ValueError: If there is no room for further samples.
    """

    def __init__(
        self,
        features: Tensor,
        boxes: Tensor,
        capacity: int,
        min_init_weight: float,
    ) -> None:
        count = len(features)
        if capacity <= count:
            raise ValueError(
                f'sample_memory_size is {capacity}, but there are {count} '
                'initial samples; it must be larger.'
            )
        self.features = features.new_zeros(capacity, *features.shape[1:])
        self.features[:count] = features
        self.boxes = boxes.new_zeros(capacity, 4)
        self.boxes[:count] = boxes
        self.weights = torch.zeros(capacity)  # on the CPU: read every frame
        self.weights[:count] = 1 / count
        self.num_init = count
        self.num_stored = count
        self.min_init_weight = min_init_weight
        self._previous: Optional[int] = None

    def insert(self, features: Tensor, box: Tensor, rate: float) -> int:
        """Store a sample, in the place of the lightest one if need be.

        Args:
            features (Tensor): Shape ``(C, H, W)``.
            box (Tensor): ``x, y, w, h``, shape ``(4, )``.
            rate (float): Learning rate: its weight after one update.

        Returns:
            int: Where it is.
        """
        slot = self._free_slot()
        if self._previous is None:
            self.weights /= 1 - rate
            self.weights[slot] = rate
        else:
            self.weights[slot] = self.weights[self._previous] / (1 - rate)
        self.weights /= self.weights.sum()
        self._protect_initial()
        self.features[slot] = features
        self.boxes[slot] = box
        self._previous = slot
        return slot

    def _free_slot(self) -> int:
        if self.num_stored < len(self.weights):
            self.num_stored += 1
            return self.num_stored - 1
        lightest = self.weights[self.num_init :].argmin()
        return int(lightest) + self.num_init

    def _protect_initial(self) -> None:
        """Raise the initial samples' weight to its floor.

        The sum of all weights is not exactly 1 afterwards, as in the authors'
        code.
        """
        first = slice(0, self.num_init)
        if self.weights[first].sum() < self.min_init_weight:
            others = self.weights[self.num_init :].sum()
            self.weights /= self.min_init_weight + others
            self.weights[first] = self.min_init_weight / self.num_init

    def stored(self) -> tuple[Tensor, Tensor, Tensor]:
        """Features ``(n, C, H, W)``, boxes ``(n, 4)``, weights ``(n, )``."""
        part = slice(0, self.num_stored)
        weights = self.weights[part].to(self.features)
        return self.features[part], self.boxes[part], weights
