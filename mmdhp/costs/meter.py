"""Measures operators and whole networks of a model, where the model is."""

import copy
import hashlib
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import torch
from torch import Tensor, nn

from mmdhp.graph import (
    ChannelGraph,
    Forward,
    GraphError,
    call_model,
    record_calls,
)
from mmdhp.surgery import shrink

from .agreement import from_first
from .latency import Latency, Measurements, Plan
from .operators import Operator, made_up, operators_of
from .options import LatencyOptions
from .progress_bar import ProgressBar
from .store import Store, environment
from .table import grid
from .timing import threads, undisturbed

_CHUNK = 2**26  # elements of tensors that are measured together
_SAVE_EVERY = 5.0  # seconds


class Meter:
    """Measures a model's operators at many widths, and networks cut from it.

    Args:
        model (nn.Module): The traced model; it is not changed.
        graph (ChannelGraph): Its graph.
        options (LatencyOptions): How to measure, with an ``input_shape``.
        forward (Callable, optional): As for :func:`mmdhp.trace`.
        divisor (int): Of kept channels. Defaults to 1.

    Raises:
        GraphError: If the model runs other operators at the input shape of
            the options than where it was traced, or cannot run there.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        options: LatencyOptions,
        forward: Optional[Forward] = None,
        divisor: int = 1,
    ) -> None:
        assert options.input_shape is not None
        self.model = model
        self.graph = graph
        self.options = options
        self.forward = forward
        tensor = next(model.parameters())
        self.device, self.dtype = tensor.device, tensor.dtype
        self.shape = (options.batch_size, *options.input_shape)
        blank = torch.zeros(self.shape, device=self.device, dtype=self.dtype)
        shapes = record_calls(model, blank, forward)
        operators = operators_of(graph.activity, shapes, graph.num_units)
        self.plan = Plan(graph, operators, divisor, self._network(operators))

    def _network(self, operators: Sequence[Operator]) -> str:
        """Name of this network's measurements."""
        parts = [f'{o.signature} {o.variables}' for o in operators]
        text = '\n'.join([type(self.model).__name__, *parts])
        own = hashlib.sha1(text.encode()).hexdigest()[:16]
        return f'network {own} at {self.shape}'

    def environment(self) -> dict[str, Any]:
        """Device, threads and versions that times depend on."""
        with threads(self.options.num_threads):
            return environment(self.device)

    # ------------------------------------------------------------ everything
    def measure(self) -> Measurements:
        """All that the plan asks for, from the disk where it is there.

        Raises:
            GraphError: If it takes longer than the time limit; what was
                measured is kept.
        """
        store = Store(self.environment(), self.options.cache)
        with threads(self.options.num_threads):
            found = self._operators(store)
            name = self.plan.network
            if name not in store.numbers:
                store.save({name: self.networks(self.plan.masks())})
            found[name] = store.numbers[name]
        return found

    def networks(self, masks: Sequence[Tensor]) -> list[float]:
        """Milliseconds of one forward pass of networks cut from the model.

        Args:
            masks (Sequence[Tensor]): bool masks, shape ``(U, )`` each.
        """
        cut = []
        for keep in masks:
            network = shrink(copy.deepcopy(self.model), self.graph, keep)
            network.eval()
            cut.append(network)
        inputs = made_up(self.shape, self.dtype, self.device)
        functions = [
            lambda network=network: call_model(network, inputs, self.forward)
            for network in cut
        ]
        with threads(self.options.num_threads):
            rounds = 2 * self.options.rounds
            return undisturbed(functions, self.device, rounds)

    def latency(self, baseline: Tensor) -> Latency:
        """The latency of networks cut from the model, by measurements.

        Of several processes the first one measures.

        Args:
            baseline (Tensor): The mask that is 100 %, shape ``(U, )``.

        Raises:
            GraphError: See :meth:`measure`.
        """
        return Latency(self.plan, from_first(self.measure), baseline)

    # ------------------------------------------------------------- operators
    def _operators(self, store: Store) -> dict[str, Sequence[float]]:
        wanted = self.plan.distinct
        new = [name for name in wanted if name not in store.numbers]
        bar = ProgressBar('Measuring latency', len(new))
        end = time.monotonic() + self.options.time_limit
        unsaved: dict[str, list] = {}
        saved_at = time.monotonic()
        constant = []
        for done, name in enumerate(new):
            seconds = (end - time.monotonic()) / (len(new) - done)
            if seconds <= 0:
                store.save(unsaved)
                self._too_long(done, len(new))
            times = self._table(wanted[name], seconds)
            if times is None:
                constant.append(wanted[name].call.operator)
                times = self._constant(wanted[name])
            unsaved[name] = times
            if time.monotonic() - saved_at > _SAVE_EVERY:
                store.save(unsaved)
                saved_at = time.monotonic()
            bar.show(done + 1)
        if unsaved:
            store.save(unsaved)
        if constant:
            warnings.warn(
                f'{len(constant)} operators do not run alone at other widths '
                f'({", ".join(sorted(set(constant))[:5])}): their latency '
                'counts as a constant.',
                stacklevel=2,
            )
        return {name: store.numbers[name] for name in wanted}

    def _too_long(self, done: int, total: int) -> None:
        raise GraphError(
            f'Measuring the latency of {type(self.model).__name__} takes '
            f'longer than time_limit={self.options.time_limit:g} s: {done} of '
            f'{total} operators are done, and kept for the next run. Start '
            'again, or set latency=dict(time_limit=...), or a smaller '
            'input_shape or batch_size there.'
        )

    def _table(
        self, operator: Operator, seconds: float
    ) -> Optional[list[float]]:
        """Times at the grid of widths; None if it does not run there."""
        times: list[float] = []
        widths = grid(operator, self.plan.divisor)
        try:
            for chunk in _chunks(operator, widths):
                functions = [operator.prepare(w, self.device) for w in chunk]
                part = seconds * len(chunk) / len(widths)
                rounds = self.options.rounds
                times += undisturbed(functions, self.device, rounds, part)
        except (RuntimeError, TypeError, ValueError, IndexError):
            return None
        return times

    def _constant(self, operator: Operator) -> list[float]:
        """The time at full width for all; 0 if it does not run at all."""
        try:
            function = operator.prepare(operator.sizes, self.device)
            (own,) = undisturbed([function], self.device, self.options.rounds)
        except (RuntimeError, TypeError, ValueError, IndexError):
            own = 0.0
        return [own] * len(grid(operator, self.plan.divisor))


def _chunks(
    operator: Operator, widths: Sequence[tuple[int, ...]]
) -> Iterator[list[tuple[int, ...]]]:
    """Split a grid such that each part fits into memory."""
    chunk: list[tuple[int, ...]] = []
    elements = 0
    for own in widths:
        size = sum(
            torch.Size(operator.shape(i, own)).numel()
            for i in range(len(operator.shapes))
        )
        if chunk and elements + size > _CHUNK:
            yield chunk
            chunk, elements = [], 0
        chunk.append(own)
        elements += size
    yield chunk
