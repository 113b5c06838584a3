"""One process measures, all processes know."""

from collections.abc import Callable
from typing import Any

from torch import distributed

from mmdhp.graph import GraphError


def from_first(measure: Callable[[], Any]) -> Any:
    """What a function returns in the first process, in all of them.

    The others wait for it, so that nothing disturbs what is measured, and so
    that all decide alike.

    Args:
        measure (Callable): Without arguments; its result can be pickled.

    Raises:
        GraphError: In every process, if measuring fails in the first.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return measure()
    box: list[Any] = [None, None]
    if distributed.get_rank() == 0:
        try:
            box[0] = measure()
        except GraphError as error:
            box[1] = str(error)
    distributed.broadcast_object_list(box)
    if box[1] is not None:
        raise GraphError(box[1])
    return box[0]
