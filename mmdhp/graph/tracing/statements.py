"""What rules state about the channels of a call."""

from collections.abc import Iterable, Sequence
from typing import Any, Optional

import numpy as np
from torch import Tensor, nn

from .known_tensors import KnownTensors
from .operator_call import Call
from .shadow import Grid, LayerRecord, Shadow
from .sizes import SizeBook
from .strands import (
    NO_ATOM,
    Strand,
    channel_rows,
    check_fits,
    joined,
    varying,
)


class Statements(KnownTensors):
    """Notes what meets, what must stay, what is made and what it costs.

    Args:
        model (nn.Module): The model, untouched.
        inputs (Any): What it is called with, nested as it likes.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__(model, inputs)
        self.layers: list[LayerRecord] = []
        self.grids: list[Grid] = []
        self.sizes = SizeBook()
        self.producers: list[tuple[str, np.ndarray]] = []
        self.stack: list[tuple[str, nn.Module]] = []
        self._charged: set[int] = set()

    # ---------------------------------------------------------------- outputs
    def set(
        self,
        call: Call,
        strands: Iterable[Strand],
        tensor: Optional[Tensor] = None,
        asked: Sequence[Any] = (),
    ) -> None:
        """Give one output, or else all of them, its strands."""
        strands = tuple(s for s in strands if s.size > 1)
        inputs = [self.shadow(t) for t in call.tensors]
        moving = [shadow for shadow in inputs if shadow.dynamic]
        known = moving or inputs
        origin = known[0].origin if known else f'a constant of {call.name}'
        blank = len(inputs) == 1 and inputs[0].blank
        if len(inputs) == 1 and call.outputs[0].shape == call.tensors[0].shape:
            asked = asked or inputs[0].asked
        code = known[0].code if known else 'fixed-width'
        shadow = Shadow(
            strands, origin, bool(moving), blank, code, tuple(asked)
        )
        sources = [self._sources.get(id(t)) for t in call.tensors]
        for output in call.outputs if tensor is None else [tensor]:
            if sources and sources[0] is not None and not moving:
                self._sources[id(output)] = sources[0]
            for strand in strands:
                check_fits(strand, output, call.name)
            self._remember(output, shadow)

    def constant(self, call: Call, asked: Sequence[Any] = ()) -> None:
        """Note outputs whose values follow from no other tensor.

        Args:
            call (Call): The call that made them.
            asked (Sequence): Their sizes, as the code asks for them.
        """
        for output in call.outputs:
            origin = f'a constant made by {self.where(call)}'
            blank = any(word in call.name for word in ('zeros', 'empty'))
            self._remember(
                output, Shadow(origin=origin, blank=blank, asked=tuple(asked))
            )

    # ------------------------------------------------------------------ sizes
    def size(self, tensor: Tensor, axis: int) -> int:
        """Size of an axis; a traced integer if it carries channels."""
        for strand in self.shadow(tensor).along(axis):
            return self.sizes.extent(strand, axis)
        return tensor.shape[axis]

    def require(
        self, strand: Strand, axis: int, value: Any, call: Call
    ) -> None:
        """Note that the model's code expects an axis to have some size."""
        if strand.shape[axis] > 1:
            rows = channel_rows(strand, axis)
            self.sizes.require(rows, value, self.where(call))

    # --------------------------------------------------------------- channels
    @property
    def module(self) -> str:
        """Dotted name of the module that is running."""
        return self.stack[-1][0] if self.stack else ''

    def where(self, call: Call) -> str:
        """Say module and operator for messages."""
        return f'{call.name} in {self.module or "the model"}'

    def tie(
        self,
        first: np.ndarray,
        second: np.ndarray,
        why: str,
        code: str = 'fixed-width',
    ) -> None:
        """Union two channel axes; what meets a fixed position is frozen.

        Args:
            first (ndarray): Atoms, broadcastable against ``second``.
            second (ndarray): Atoms.
            why (str): What fixes the positions that carry no atom.
            code (str): The code of that reason.
        """
        self.atoms.union(first, second)
        first, second = np.broadcast_arrays(first, second)
        self.atoms.freeze(first[second == NO_ATOM], code, why)
        self.atoms.freeze(second[first == NO_ATOM], code, why)

    def merge(
        self, strands: Sequence[Strand], new: Strand, where: str
    ) -> list[Strand]:
        """Tie ``new`` to every strand that varies along a common axis."""
        apart = []
        for strand in strands:
            if set(varying(strand)) & set(varying(new)):
                self.tie(strand, new, f'meets a fixed width at {where}')
                new = joined(strand, new)
            else:
                apart.append(strand)
        return [*apart, new]

    def freeze(
        self, strands: Iterable[Strand], code: str, reason: str
    ) -> None:
        """Freeze every atom of the strands."""
        for strand in strands:
            self.atoms.freeze(strand, code, reason, self.module)

    def fix(
        self, strand: Strand, axes: Sequence[int], code: str, reason: str
    ) -> None:
        """Let axes keep their sizes: channels may go along others only."""
        if axes and set(varying(strand)) <= set(axes):
            self.freeze([strand], code, reason)
            return
        for axis in axes:
            rows = np.moveaxis(strand, axis, 0)
            self.tie(rows, rows[:1], reason)

    def meet(self, strand: Strand, tensor: Tensor, call: Call) -> None:
        """Channels meet a tensor, which may carry none along their axes.

        Then its width is fixed, unless the code that made it asked for a
        width that follows a cut.
        """
        lead = strand.ndim - tensor.dim()
        shape = (1,) * lead + tuple(tensor.shape)
        own = {
            a for s in self.aligned(tensor, strand.ndim) for a in varying(s)
        }
        met = [axis for axis in varying(strand) if shape[axis] > 1]
        if own.intersection(met):
            return
        shadow = self.shadow(tensor)
        asked = (None,) * lead + shadow.asked
        fixed = []
        for axis in met:
            if shadow.asked and self.sizes.is_traced(asked[axis]):
                self.require(strand, axis, asked[axis], call)
            else:
                fixed.append(axis)
        reason = f'meets {shadow.origin} of the same width at '
        self.fix(strand, fixed, shadow.code, reason + self.where(call))

    def suspect(self, reason: str) -> None:
        """Freeze every channel so far: any may have flowed unseen."""
        for shadow in list(self._shadows.values()):
            if shadow.dynamic:
                reason_full = f'{reason}; these channels may have led to it'
                self.freeze(shadow.strands, 'bypass', reason_full)

    def reads(self, call: Call, tensor: Tensor) -> None:
        """Note that a layer reads a tensor: somebody must have written it."""
        shadow = self.shadow(tensor)
        if shadow.blank:
            self.suspect(
                f'{self.where(call)} reads {shadow.origin}, which no traced '
                'operator wrote'
            )

    # ----------------------------------------------------------------- layers
    def produce(self, weight: Tensor, atoms: np.ndarray) -> None:
        """Note that a layer makes these channels, with this weight.

        It is named after the running module if the weight is its own, else
        after the parameter that the weight follows from.
        """
        entry = self._sources.get(id(weight))
        name = self.module
        if entry is not None:
            owners = [
                owner if leaf == 'weight' else full
                for full in (entry.name, *entry.aliases)
                for owner, _, leaf in [full.rpartition('.')]
            ]
            name = name if name in owners else owners[0]
        self.producers.append((name, atoms))

    def charge(
        self,
        kind: str,
        rows: np.ndarray,
        columns: np.ndarray,
        factor: float,
    ) -> None:
        """Record arithmetic of the current module.

        Activations are charged once per module instance, as the published
        counters do.
        """
        name, module = self.stack[-1] if self.stack else ('', self.model)
        if kind == 'act':
            if id(module) in self._charged:
                return
            self._charged.add(id(module))
        factor = factor / self.batch_size
        self.layers.append(LayerRecord(kind, name, rows, columns, factor))
