"""One operator call, as the tracer and its rules see it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Optional

from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Spelling:
    """The Python call that led to an operator, such as ``x.chunk(2)``.

    Args:
        name (str): Name of the function or method; ``''`` if unknown.
        args (tuple): Its positional arguments.
        kwargs (dict): Its keyword arguments.
    """

    name: str = ''
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)

    def sizes(self, count: int) -> Optional[Sequence[Any]]:
        """The sizes in ``x.view(a, b)`` or ``x.view((a, b))``.

        Returns:
            Sequence | None: None unless there are ``count`` of them.
        """
        sizes: Sequence[Any] = self.args[1:]
        if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
            sizes = sizes[0]
        return sizes if len(sizes) == count else None


@dataclass
class Call:
    """One operator call, as rules see it."""

    name: str
    func: Any
    args: tuple
    kwargs: dict
    out: Any
    spelling: Spelling = Spelling()

    def argument(self, name: str, default: Any = None) -> Any:
        """Argument by its name in the operator's schema."""
        index = _argument_indices(self.func).get(name, len(self.args))
        if index < len(self.args):
            return self.args[index]
        return self.kwargs.get(name, default)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """All tensor arguments, in order."""
        return tensors_of((self.args, self.kwargs))

    @cached_property
    def outputs(self) -> list[Tensor]:
        """All tensors the call returned."""
        return tensors_of(self.out)


@cache
def _argument_indices(func: Any) -> dict[str, int]:
    return {a.name: i for i, a in enumerate(func._schema.arguments)}


def tensors_of(tree: Any) -> list[Tensor]:
    """All tensors in something nested."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
