"""The tracer: everything one forward pass tells about channels."""

from typing import Any, Callable

from torch import Tensor, nn

from ..rules import find_rule
from .call_book import CallBook, record_of
from .known_tensors import OUTSIDE
from .operator_call import Call, tensors_of
from .shadow import Shadow
from .statements import Statements


class Tracer(Statements):
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
        super().__init__(model, inputs)
        self._is_constant = is_constant
        self.book = CallBook()
        self._names = {id(m): n for n, m in self._modules.items()}
        self._used: set[int] = set()
        self._inputs_of: dict[int, list[Tensor]] = {}

    # -------------------------------------------------------------- operators
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
        spelled = tensors_of((call.spelling.args, call.spelling.kwargs))
        own = call.spelling.name and all(tensor is not t for t in spelled)
        if own or self._is_constant(tensor):  # own: a list of indices
            self._remember(tensor, Shadow())
            return
        if not call.name.startswith('aten::lift_fresh'):
            self.suspect(f'{self.where(call)} reads {OUTSIDE}')
        self._remember(
            tensor, Shadow(origin=OUTSIDE, blank=True, code='bypass')
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

    # ---------------------------------------------------------------- modules
    def enter(self, module: nn.Module, args: tuple) -> None:
        """Note that ``module`` is running."""
        name = self._names.get(id(module), self.module)
        self.stack.append((name, module))
        if id(module) in self._names and module._parameters:
            tensors = tensors_of(args)
            self._inputs_of.setdefault(id(module), []).extend(tensors)
            self._alive.append(tensors)

    def leave(self) -> None:
        """Note that the innermost module returned."""
        self.stack.pop()

    def finish(self, outputs: Any) -> None:
        """Freeze what leaves the model and what bypassed the dispatcher."""
        self.book.give_back(tensors_of(outputs))
        reason = 'its channels are an output of the model'
        for tensor in tensors_of(outputs):
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
