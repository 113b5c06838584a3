"""The operators that a traced model ran, with the sizes of their tensors."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from operator import index as plain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..cost import Activity, CallRecord, Slot, TensorRecord
from .operator_call import Call
from .shadow import Shadow
from .sizes import TracedInt
from .strands import NO_ATOM


class CallBook:
    """Notes every operator call of one trace."""

    def __init__(self) -> None:
        self.calls: list[CallRecord] = []
        self.returned: set[int] = set()

    def note(
        self,
        call: Call,
        module: str,
        inputs: Sequence[TensorRecord],
        outputs: Sequence[TensorRecord],
    ) -> None:
        """Note a call, behind its rule.

        Args:
            call (Call): The call.
            module (str): Dotted name of the module that runs.
            inputs (Sequence[TensorRecord]): Its tensors, as they were before.
            outputs (Sequence[TensorRecord]): What it returned.
        """
        slots = iter(range(len(inputs)))
        args = _template(call.args, slots)
        kwargs = _template(call.kwargs, slots)
        records = (tuple(inputs), tuple(outputs))
        name = str(call.func)
        self.calls.append(CallRecord(name, module, args, kwargs, *records))

    def give_back(self, outputs: Sequence[Tensor]) -> None:
        """Note the tensors that the model returns."""
        self.returned = set(map(storage_of, outputs))


def storage_of(tensor: Tensor) -> int:
    """A number for the memory that a living tensor lives in."""
    if tensor.layout != torch.strided:
        return id(tensor)
    return tensor.untyped_storage()._cdata


def record_of(tensor: Tensor, shadow: Shadow) -> TensorRecord:
    """What is known about a tensor now."""
    return TensorRecord(
        tuple(tensor.shape),
        tensor.dtype,
        storage_of(tensor),
        shadow.dynamic,
        shadow.strands,
    )


def _template(value: Any, slots: Iterator[int]) -> Any:
    """Arguments without tensors and without traced integers."""
    if isinstance(value, Tensor):
        return Slot(next(slots))
    if isinstance(value, (list, tuple)):
        return type(value)([_template(item, slots) for item in value])
    if isinstance(value, dict):
        return {key: _template(item, slots) for key, item in value.items()}
    return plain(value) if isinstance(value, TracedInt) else value


def activity_of(
    calls: Sequence[CallRecord],
    returned: Collection[int],
    batch_size: int,
    unit_of: np.ndarray,
    constant: int,
) -> Activity:
    """All calls of a trace, with units in the strands instead of atoms.

    Args:
        calls (Sequence[CallRecord]): As noted.
        returned (Collection[int]): Storages of the model's outputs.
        batch_size (int): Samples of the pass.
        unit_of (ndarray): Unit of every atom.
        constant (int): The unit that stands for what is no channel.
    """

    def convert(record: TensorRecord) -> TensorRecord:
        strands = tuple(
            np.where(strand == NO_ATOM, constant, unit_of[strand])
            for strand in record.strands
        )
        return replace(record, strands=strands) if strands else record

    converted = [
        replace(
            call,
            inputs=tuple(map(convert, call.inputs)),
            outputs=tuple(map(convert, call.outputs)),
        )
        for call in calls
    ]
    return Activity(converted, returned, batch_size)
