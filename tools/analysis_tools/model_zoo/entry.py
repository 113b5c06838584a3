"""An architecture of a library: how to build and how to call it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from torch import nn

Shapes = tuple[tuple[int, ...], ...]
Forward = Callable[[nn.Module, Any], Any]

BATCH = 2


@dataclass(frozen=True)
class Entry:
    """One architecture of a library.

    Args:
        library (str): Name of the package.
        model (str): Type of the network or of its backbone.
        arch (str): Its variant.
        build (Callable): Returns the network with random weights.
        inputs (Sequence[Shapes]): Shapes of the inputs, batch axis included,
            to be tried in this order.
        forward (Callable, optional): As for :func:`mmdhp.trace`.
    """

    library: str
    model: str
    arch: str
    build: Callable[[], nn.Module]
    inputs: Sequence[Shapes]
    forward: Optional[Forward] = None

    @property
    def name(self) -> str:
        """What ``--filter`` is matched against."""
        return f'{self.library} {self.model} {self.arch}'.strip()


def images(*sizes: int, channels: int = 3) -> list[Shapes]:
    """Shapes of square images."""
    return [((BATCH, channels, size, size),) for size in sizes]
