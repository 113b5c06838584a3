"""Sizes that remember how the model's code arrived at them.

While a model is traced, the integers that its code takes from tensor shapes
and from module attributes are :class:`TracedInt`: ordinary integers that also
carry an expression. Where such an integer becomes a size (``x.view(b, heads,
c // heads)``), the expression tells what the code would ask for after a cut,
and which attribute has to follow.
"""

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable, Optional, Union

import numpy as np
from torch import nn

from ..open_forward import open_forward
from .strands import Strand, channel_rows


@dataclass(frozen=True)
class Attribute:
    """An integer that a module holds.

    Args:
        module (str): Dotted module name.
        name (str): Attribute name.
        index (int): Position, if the attribute is a list or tuple.
    """

    module: str
    name: str
    index: Optional[int] = None

    def __str__(self) -> str:
        item = '' if self.index is None else f'[{self.index}]'
        return f'{self.module}.{self.name}{item}'.lstrip('.')


@dataclass(frozen=True, eq=False)
class Extent:
    """The size of an axis that carries channels.

    Args:
        rows (ndarray): Atoms of every position, ``(size, others)``.
    """

    rows: np.ndarray

    def __str__(self) -> str:
        return f'a width of {len(self.rows)}'


@dataclass(frozen=True)
class Operation:
    """An arithmetic operation of two expressions."""

    symbol: str
    first: 'Expression'
    second: 'Expression'

    def __str__(self) -> str:
        return f'({self.first} {self.symbol} {self.second})'


Expression = Union[int, Attribute, Extent, Operation]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    '+': operator.add,
    '-': operator.sub,
    '*': operator.mul,
    '//': operator.floordiv,
    '%': operator.mod,
}


class TracedInt(int):
    """An integer with the expression that it came from.

    Where Python makes a plain number of it (``int(c / 2)``), its book notes
    that such a number is no literal. Copies and pickles are plain integers,
    so that nothing of a trace is left in what a model stores.

    Args:
        value (int): The integer.
        expression (Expression): Where it came from.
        book (SizeBook): The trace that it belongs to.
    """

    expression: Expression
    book: 'SizeBook'

    def __new__(
        cls, value: int, expression: Expression, book: 'SizeBook'
    ) -> 'TracedInt':
        """Make the integer."""
        self = super().__new__(cls, value)
        self.expression = expression
        self.book = book
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple:
        """Copy and pickle as a plain integer."""
        return int, (self.__index__(),)

    def __int__(self) -> int:
        """A plain integer, which is remembered."""
        return self.book.lose(self.__index__(), self.expression)

    def __truediv__(self, other: Any) -> Any:
        """A plain float; the integer in it is remembered."""
        result = int.__truediv__(self, other)
        if isinstance(result, float):
            self.book.lose(int(result), self.expression)
        return result


def _traced(symbol: str, reflected: bool) -> Callable:
    function = _OPERATORS[symbol]

    def method(self: TracedInt, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        values = [self.__index__(), other]
        if isinstance(other, int):
            values[1] = other.__index__()
        if reflected:
            values.reverse()
        result = function(*values)
        if isinstance(other, float):
            self.book.lose(int(result), self.expression)
            return result
        its: Expression = other.__index__()
        if isinstance(other, TracedInt) and other.book is self.book:
            its = other.expression
        pair = (its, self.expression) if reflected else (self.expression, its)
        return TracedInt(result, Operation(symbol, *pair), self.book)

    return method


_METHODS = {'+': 'add', '-': 'sub', '*': 'mul', '//': 'floordiv', '%': 'mod'}
for _symbol, _name in _METHODS.items():
    setattr(TracedInt, f'__{_name}__', _traced(_symbol, reflected=False))
    setattr(TracedInt, f'__r{_name}__', _traced(_symbol, reflected=True))


def leaves(expression: Expression) -> Iterator[Union[Attribute, Extent]]:
    """Attributes and extents in an expression."""
    if isinstance(expression, Operation):
        yield from leaves(expression.first)
        yield from leaves(expression.second)
    elif not isinstance(expression, int):
        yield expression


def evaluate(
    expression: Expression, values: Mapping[Any, np.ndarray]
) -> np.ndarray:
    """Value of an expression, given its leaves' (arrays broadcast).

    A division by zero yields 0.
    """
    if isinstance(expression, Operation):
        first = evaluate(expression.first, values)
        second = evaluate(expression.second, values)
        with np.errstate(divide='ignore'):
            return _OPERATORS[expression.symbol](first, second)
    if isinstance(expression, int):
        return np.asarray(expression)
    return values[expression]


@dataclass(frozen=True, eq=False)
class Requirement:
    """The code expects an axis, or a part of one, to have a certain size.

    Args:
        rows (ndarray): Atoms of every position, ``(size, others)``.
        expression (Expression): The size that the code will ask for.
        where (str): Module and operator, for messages.
    """

    rows: np.ndarray
    expression: Expression
    where: str


class SizeBook:
    """The traced integers of one trace, and what is expected of sizes."""

    def __init__(self) -> None:
        self.lost: dict[int, list[Expression]] = {}
        self.requirements: list[Requirement] = []
        self.originals: dict[Attribute, int] = {}

    def mark_attributes(self, model: nn.Module) -> None:
        """Make the integers that modules hold traced ones, in place.

        PyTorch's own layers are left alone: surgery knows their attributes.
        """
        for prefix, module in model.named_modules():
            own = type(module).__module__.startswith('torch.')
            if own and open_forward(module) is None:
                continue
            attributes = vars(module)
            for name, value in list(attributes.items()):
                marked = self._marked(Attribute(prefix, name), value)
                if marked is not value:
                    attributes[name] = marked

    def _marked(self, attribute: Attribute, value: Any) -> Any:
        if type(value) is int and value > 1:
            self.originals[attribute] = value
            return TracedInt(value, attribute, self)
        if type(value) in (list, tuple) and value:
            if all(type(item) is int for item in value):
                return type(value)(
                    self._marked(replace(attribute, index=index), item)
                    for index, item in enumerate(value)
                )
        return value

    def lose(self, value: int, expression: Expression) -> int:
        """Note that Python makes a plain number of a traced one."""
        self.lost.setdefault(value, []).append(expression)
        return value

    def extent(self, strand: Strand, axis: int) -> TracedInt:
        """The size of an axis along which a strand varies."""
        rows = channel_rows(strand, axis)
        return TracedInt(len(rows), Extent(rows), self)

    def expression(self, value: Any) -> Optional[Expression]:
        """Expression of a size in the model's code.

        Returns:
            Expression | None: None if it is unknown: no integer, -1, a number
            that may have been a traced one, or what an earlier trace left.
        """
        if isinstance(value, TracedInt):
            return value.expression if value.book is self else None
        return value if self.is_literal(value) and value >= 0 else None

    def is_literal(self, value: Any) -> bool:
        """Whether the code writes a size, or a position, as a number."""
        return type(value) is int and value not in self.lost

    def is_traced(self, value: Any) -> bool:
        """Whether a size is one of this trace."""
        return isinstance(value, TracedInt) and value.book is self

    def _leaves(self, value: Any) -> list[Union[Attribute, Extent]]:
        """Attributes and extents that a size, or a lost one, came from."""
        expressions = [self.expression(value)]
        if expressions[0] is None and type(value) is int:
            expressions = [*self.lost.get(value, ())]
        return [
            leaf for e in expressions if e is not None for leaf in leaves(e)
        ]

    def openness(self, value: Any) -> Optional[int]:
        """How freely a size follows a cut; None if it cannot.

        0 if it follows by itself, 1 if an attribute must be changed.
        """
        if isinstance(value, int) and value == -1:
            return 0
        own = self._leaves(value)
        if self.is_traced(value):
            return int(not any(isinstance(leaf, Extent) for leaf in own))
        open_ = own and all(isinstance(leaf, Extent) for leaf in own)
        return 0 if open_ else None

    def is_share(self, value: Any, whole: int) -> bool:
        """Whether a size follows from that of one axis, ``whole`` wide."""
        own = self._leaves(value)
        return bool(own) and all(
            isinstance(leaf, Extent) and len(leaf.rows) == whole
            for leaf in own
        )

    def require(self, rows: np.ndarray, value: Any, where: str) -> None:
        """Note that the code expects ``rows`` to be as many as ``value``."""
        expression = self.expression(value)
        if expression is not None:
            self.requirements.append(Requirement(rows, expression, where))
