"""The tracer: everything one forward pass tells about channels."""

from collections.abc import Iterable, Sequence
from typing import Any, Callable, Optional

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves

from .calls import CallBook, record_of
from .rules import find_rule
from .shadow import (
    NO_ATOM,
    AtomTable,
    Call,
    Grid,
    LayerRecord,
    ParameterAtoms,
    Shadow,
    Strand,
    channel_rows,
    check_fits,
    joined,
    on_axis,
    varying,
)
from .sizes import SizeBook


class Tracer:
    """Collects everything one forward pass tells about channels.

    Rules (:mod:`mmdhp.graph.rules`) talk to this object only.

    Args:
        model (nn.Module): The model, untouched.
        inputs (Any): What it is called with, nested as it likes.
        is_constant (Callable): Whether a tensor that no traced operator made
            was there before the run, so that no channels led to it.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Any,
        is_constant: Callable[[Tensor], bool] = lambda tensor: False,
    ) -> None:
        self.model = model
        self._is_constant = is_constant
        self.atoms = AtomTable()
        self.pixels = AtomTable()  # unions of channels laid out in space
        self.parameters: dict[int, ParameterAtoms] = {}
        self.layers: list[LayerRecord] = []
        self.grids: list[Grid] = []
        self.sizes = SizeBook()
        self.book = CallBook()
        self.producers: list[tuple[str, np.ndarray]] = []
        self.batch_size = 1
        self.stack: list[tuple[str, nn.Module]] = []
        self._modules = dict(model.named_modules())
        self._names = {id(m): n for n, m in self._modules.items()}
        self._shadows: dict[int, Shadow] = {}
        self._sources: dict[int, ParameterAtoms] = {}  # of derived weights
        self._alive: list[Any] = []  # ids are reused: keep every tensor
        self._used: set[int] = set()
        self._charged: set[int] = set()
        self._inputs_of: dict[int, list[Tensor]] = {}
        self._register_parameters()
        self._register_attributes()
        self._register_inputs(inputs)

    # --------------------------------------------------------------- register
    def _register_parameters(self) -> None:
        parameters = list(self.model.named_parameters(remove_duplicate=False))
        buffers = list(self.model.named_buffers(remove_duplicate=False))
        names: dict[int, list[str]] = {}
        for name, tensor in parameters + buffers:
            names.setdefault(id(tensor), []).append(name)
        trainable = {id(tensor) for _, tensor in parameters}
        for _, tensor in parameters + buffers:
            if id(tensor) not in self.parameters:
                self._register(
                    names[id(tensor)], tensor, id(tensor) in trainable
                )
        for prefix, module in self.model.named_modules():
            for leaf in module._non_persistent_buffers_set:
                self._freeze_unsaved(f'{prefix}.{leaf}'.lstrip('.'), module)

    def _register(
        self, names: Sequence[str], tensor: Tensor, trainable: bool
    ) -> None:
        axes = tuple(self.atoms.allocate(size) for size in tensor.shape)
        self.pixels.size = self.atoms.size
        entry = ParameterAtoms(
            names[0], tuple(names[1:]), tensor, axes, trainable
        )
        self.parameters[id(tensor)] = entry
        strands = tuple(
            on_axis(atoms, axis, len(axes))
            for axis, atoms in enumerate(axes[: self._channel_axes(entry)])
            if len(atoms) > 1
        )
        self._remember(tensor, Shadow(strands, f'parameter {names[0]}'))
        self._sources[id(tensor)] = entry
        self.freeze(
            [atoms for atoms in axes if len(atoms) == 1],
            'single',
            f'{names[0]} has a single channel',
        )

    def _channel_axes(self, entry: ParameterAtoms) -> int:
        """How many axes may carry channels: not those of a conv's kernel."""
        owner = entry.name.partition('.parametrizations.')[0]
        if owner == entry.name:
            owner = entry.name.rpartition('.')[0]
        kernel = isinstance(self._modules.get(owner), _ConvNd)
        return 2 if kernel else len(entry.axes)

    def _freeze_unsaved(self, name: str, module: nn.Module) -> None:
        """A checkpoint could not say how wide such a buffer is."""
        tensor = module._buffers.get(name.rpartition('.')[2])
        if tensor is not None:
            reason = f'buffer {name} is not saved in checkpoints'
            axes = self.parameters[id(tensor)].axes
            self.freeze(axes, 'not-saved', reason)

    def _register_attributes(self) -> None:
        """Plain tensors that modules hold are constants."""
        for module in self.model.modules():
            for name, value in vars(module).items():
                if name in ('_parameters', '_buffers', '_modules'):
                    continue
                if not isinstance(value, (Tensor, list, tuple, dict)):
                    continue
                for tensor in _tensors_of(value):
                    if id(tensor) not in self._shadows:
                        self._remember(tensor, Shadow())

    def _register_inputs(self, inputs: Any) -> None:
        tensors = _tensors_of(inputs)
        for tensor in tensors:
            shadow = Shadow(origin="the model's input", dynamic=True)
            self._remember(tensor, shadow)
        if tensors and tensors[0].dim() > 0:
            self.batch_size = max(tensors[0].shape[0], 1)

    # ------------------------------------------------------- tensors, shadows
    def _remember(self, tensor: Tensor, shadow: Shadow) -> None:
        self._alive.append(tensor)
        self._shadows[id(tensor)] = shadow

    def shadow(self, tensor: Tensor) -> Shadow:
        """Shadow of a tensor; an empty one if it was never seen."""
        shadow = self._shadows.get(id(tensor))
        return shadow or Shadow(origin=_OUTSIDE, code='bypass')

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor follows from parameters and constants alone."""
        return not self.shadow(tensor).dynamic

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

    def axis(self, tensor: Tensor, axis: int) -> np.ndarray:
        """One atom per position along ``axis``, shape ``(size, )``.

        All atoms of a position are tied; positions without one read
        ``NO_ATOM``.
        """
        axis %= tensor.dim()
        entry = self.parameters.get(id(tensor))
        if entry is not None:
            return entry.axes[axis]
        chosen = np.full(tensor.shape[axis], NO_ATOM)
        for strand in self.shadow(tensor).along(axis):
            rows = channel_rows(strand, axis)
            heads = rows.max(1)
            if rows.shape[1] > 1:
                self.atoms.union(rows, heads[:, None])
                self.pixels.union(rows, heads[:, None])
            self.atoms.union(heads, chosen)
            chosen = np.where(chosen == NO_ATOM, heads, chosen)
        return chosen

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

    def aligned(self, tensor: Tensor, ndim: int) -> list[Strand]:
        """Strands of a tensor, left-padded to ``ndim`` axes."""
        lead = (1,) * (ndim - tensor.dim())
        strands = self.shadow(tensor).strands
        return [s.reshape(lead + s.shape) for s in strands]

    # ------------------------------------------------------------- statements
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

    # ------------------------------------------------------------- observing
    def observe(self, call: Call) -> None:
        """Apply the rule of one operator call."""
        self._used.update(id(t) for t in call.tensors)
        self._alive.append(call.out)
        if not call.outputs:  # a question about a tensor, such as its device
            return
        for tensor in call.tensors:
            if id(tensor) not in self._shadows:
                self._meet_unseen(tensor, call)
        inputs = [record_of(t, self.shadow(t)) for t in call.tensors]
        self._apply_rule(call)
        for output in call.outputs:  # statistics and the like
            if id(output) not in self._shadows:
                self.set(call, [], output)
        outputs = [record_of(t, self.shadow(t)) for t in call.outputs]
        self.book.note(call, self.module, inputs, outputs)

    def _apply_rule(self, call: Call) -> None:
        rule = find_rule(call)
        if rule is None:
            self._give_up(call, 'has no rule')
            return
        try:
            rule(self, call)
        except (LookupError, TypeError, ValueError) as error:
            problem = f'{type(error).__name__}: {error}'
            self._give_up(call, f'is used as its rule cannot read ({problem})')

    def _meet_unseen(self, tensor: Tensor, call: Call) -> None:
        """Constants are lifted into the graph; anything else is suspicious."""
        spelled = _tensors_of((call.spelling.args, call.spelling.kwargs))
        own = call.spelling.name and all(tensor is not t for t in spelled)
        if own or self._is_constant(tensor):  # own: a list of indices
            self._remember(tensor, Shadow())
            return
        if not call.name.startswith('aten::lift_fresh'):
            self.suspect(f'{self.where(call)} reads {_OUTSIDE}')
        self._remember(
            tensor, Shadow(origin=_OUTSIDE, blank=True, code='bypass')
        )

    def _give_up(self, call: Call, why: str) -> None:
        """What is not understood is never guessed."""
        self.freeze(
            [s for t in call.tensors for s in self.shadow(t).strands],
            'unknown-operator',
            f'{self.where(call)} {why}, so the channels that reach it keep '
            'their width',
        )
        origin = f'the output of {self.where(call)}, which {why}'
        dynamic = not all(self.is_weight(t) for t in call.tensors)
        for tensor in call.outputs:
            code = 'unknown-operator'
            shadow = Shadow(origin=origin, dynamic=dynamic, code=code)
            self._remember(tensor, shadow)

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

    def enter(self, module: nn.Module, args: tuple) -> None:
        """Note that ``module`` is running."""
        name = self._names.get(id(module), self.module)
        self.stack.append((name, module))
        if id(module) in self._names and module._parameters:
            tensors = _tensors_of(args)
            self._inputs_of.setdefault(id(module), []).extend(tensors)
            self._alive.append(tensors)

    def leave(self) -> None:
        """Note that the innermost module returned."""
        self.stack.pop()

    def finish(self, outputs: Any) -> None:
        """Freeze what leaves the model and what bypassed the dispatcher."""
        self.book.give_back(_tensors_of(outputs))
        reason = 'its channels are an output of the model'
        for tensor in _tensors_of(outputs):
            shadow = self.shadow(tensor)
            self.freeze(shadow.strands, 'output', reason)
            if shadow.blank or id(tensor) not in self._shadows:
                self.suspect(f'the model returns {shadow.origin}')
        for name, module in self.model.named_modules():
            if id(module) in self._inputs_of:
                self._freeze_missed(name, module)

    def _freeze_missed(self, name: str, module: nn.Module) -> None:
        """A module ran, but no traced operator read its parameters."""
        missed = [
            p
            for p in module._parameters.values()
            if p is not None and id(p) not in self._used
        ]
        if not missed:
            return
        reason = (
            f'{name} ({type(module).__name__}) computes outside the '
            'traced operators (a compiled extension?)'
        )
        for tensor in self._inputs_of[id(module)]:
            self.freeze(self.shadow(tensor).strands, 'bypass', reason)
        for parameter in missed:
            axes = self.parameters[id(parameter)].axes
            self.freeze(axes, 'bypass', reason)

    @property
    def unused(self) -> list[str]:
        """Names of parameters that the forward pass never touched."""
        return [
            entry.name
            for key, entry in self.parameters.items()
            if entry.trainable and key not in self._used
        ]


_OUTSIDE = 'a tensor made outside the traced operators'


def _tensors_of(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
