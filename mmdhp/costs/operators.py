"""Operators of a traced model that run again at any widths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np
import torch
from torch import Tensor

from mmdhp.graph import Activity, CallRecord, GraphError, Slot, TensorRecord

Units = tuple[int, ...]


@dataclass(frozen=True)
class Width:
    """Size of an axis that a cut changes: a multiple of a number of units.

    Args:
        variable (int): Which of the operator's sets of units.
        multiple (int): Positions per unit.
    """

    variable: int
    multiple: int

    def __str__(self) -> str:
        return f'{self.multiple}*w{self.variable}'


Shape = tuple[Union[int, Width], ...]


@dataclass(frozen=True, eq=False)
class Operator:
    """A call whose tensors have open widths.

    Args:
        call (CallRecord): As recorded, for the operator and its arguments.
        shapes (tuple): Shape of every input.
        variables (tuple): Units behind every variable, frozen ones included;
            equal operators of two layers differ in nothing else.
    """

    call: CallRecord
    shapes: tuple[Shape, ...]
    variables: tuple[Units, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of units behind every variable."""
        return tuple(map(len, self.variables))

    @property
    def signature(self) -> str:
        """Equal for operators that take equally long at equal widths."""
        shapes = [
            'x'.join(map(str, shape)) + f':{str(record.dtype)[6:]}'
            for shape, record in zip(self.shapes, self.call.inputs)
        ]
        arguments = [*self.call.args, *self.call.kwargs.items()]
        return f'{self.call.operator}({arguments}) {shapes} {self.sizes}'

    def shape(self, index: int, widths: Sequence[int]) -> tuple[int, ...]:
        """Shape of an input at some number of units of every variable."""
        return tuple(
            widths[size.variable] * size.multiple
            if isinstance(size, Width)
            else size
            for size in self.shapes[index]
        )

    def prepare(
        self, widths: Sequence[int], device: torch.device
    ) -> Callable[[], Any]:
        """Make a function that runs the operator, on tensors made up here.

        Args:
            widths (Sequence[int]): Number of units of every variable.
            device (torch.device): Where to.
        """
        tensors = [
            made_up(self.shape(i, widths), record.dtype, device)
            for i, record in enumerate(self.call.inputs)
        ]
        args = list(_filled(self.call.args, tensors))
        kwargs = _filled(self.call.kwargs, tensors)
        kwargs.update({'device': device} if 'device' in kwargs else {})
        function, adapt = _executable(self.call.operator)
        adapt(self, tensors, args)
        return lambda: function(*args, **kwargs)


def made_up(
    shape: Sequence[int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Normal numbers, the same for each shape; zeros as integers."""
    if not dtype.is_floating_point:
        return torch.zeros(*shape, dtype=dtype, device=device)
    draw = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=draw).to(device, dtype)


def _filled(value: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(value, Slot):
        return tensors[value.index]
    if isinstance(value, (list, tuple)):
        return type(value)([_filled(item, tensors) for item in value])
    if isinstance(value, dict):
        return {key: _filled(item, tensors) for key, item in value.items()}
    return value


# ------------------------------------------------------ arguments with widths
Adapt = Callable[[Operator, list[Tensor], list[Any]], None]


def _same(operator: Operator, tensors: list[Tensor], args: list[Any]) -> None:
    """No argument depends on widths."""


def _groups(
    operator: Operator, tensors: list[Tensor], args: list[Any]
) -> None:
    """Whole groups go, unless channels go inside of each."""
    if not isinstance(operator.shapes[1][1], Width):
        before = operator.call.inputs[0].shape[1]
        args[8] = args[8] * tensors[0].shape[1] // before


def _last_axes(
    operator: Operator, tensors: list[Tensor], args: list[Any]
) -> None:
    args[1] = list(tensors[0].shape[-len(args[1]) :])


def _norm_groups(
    operator: Operator, tensors: list[Tensor], args: list[Any]
) -> None:
    """Whole groups go, as when a :class:`torch.nn.GroupNorm` is cut."""
    per_group = args[4] // args[6]
    args[4] = tensors[0].shape[1]
    args[6] = max(args[4] // per_group, 1)
    if args[4] % args[6]:
        raise ValueError(f'{args[4]} channels in groups of {per_group}')


def _choose_backend(
    operator: Operator, tensors: list[Tensor], args: list[Any]
) -> None:
    args.append(torch.backends.cudnn.enabled)


_ADAPT: dict[str, Adapt] = {
    'aten.convolution.default': _groups,
    'aten.native_layer_norm.default': _last_axes,
    'aten.native_group_norm.default': _norm_groups,
    'aten.native_batch_norm.default': _choose_backend,
}

# Meta tensors take the portable way; models, the best one for the device.
_INSTEAD = {'aten.native_batch_norm.default': 'aten.batch_norm.default'}


def _executable(name: str) -> tuple[Callable, Adapt]:
    namespace, function, overload = _INSTEAD.get(name, name).split('.')
    packet = getattr(getattr(torch.ops, namespace), function)
    return getattr(packet, overload), _ADAPT.get(name, _same)


# ------------------------------------------------------------- from a trace
def operators_of(
    activity: Activity, shapes: Activity, num_units: int
) -> list[Operator]:
    """Operators that take time, in call order.

    Args:
        activity (Activity): Of the graph, for the channels.
        shapes (Activity): Of a pass with the batch and image sizes to be
            measured, for everything else.
        num_units (int): Number of prunable units; frozen ones follow.

    Raises:
        GraphError: If the two passes run different operators.
    """
    known, measured = activity.calls, shapes.calls
    if [call.operator for call in known] != [c.operator for c in measured]:
        raise GraphError(
            'The model runs other operators at the batch size and input '
            'shape whose latency is the target than at `input_shape` '
            f'({len(measured)} calls, not {len(known)}). Leave input_shape '
            'and batch_size out of `latency`, or set `input_shape` of the '
            'pruner to the same.'
        )
    return [
        _open(first, second, num_units)
        for first, second in zip(known, measured)
        if _takes_time(second)
    ]


def _takes_time(call: CallRecord) -> bool:
    """Whether a call computes anything from the model's input."""
    if not any(tensor.dynamic for tensor in call.inputs):
        return False
    owned = {tensor.storage for tensor in call.inputs}
    if not all(tensor.storage in owned for tensor in call.outputs):
        return True
    function: Any = _executable(call.operator)[0]
    return bool(function._schema.is_mutable)  # a view computes nothing


def _open(known: CallRecord, call: CallRecord, num_units: int) -> Operator:
    variables: dict[Units, int] = {}
    shapes = tuple(
        _open_shape(first, second, num_units, variables)
        for first, second in zip(known.inputs, call.inputs)
    )
    return Operator(call, shapes, tuple(variables))


def _open_shape(
    known: TensorRecord,
    record: TensorRecord,
    num_units: int,
    variables: dict[Units, int],
) -> Shape:
    shape: list[Union[int, Width]] = list(record.shape)
    for strand in known.strands:
        found = _axis_of(strand)
        if found is None:
            continue
        axis, units = found
        prunable = bool((units < num_units).any())
        if prunable and record.shape[axis] == len(units):
            distinct, counts = np.unique(units, return_counts=True)
            even = bool((counts == counts[0]).all())
            own = tuple((distinct if even else np.sort(units)).tolist())
            number = variables.setdefault(own, len(variables))
            shape[axis] = Width(number, int(counts[0]) if even else 1)
    return tuple(shape)


def _axis_of(strand: np.ndarray) -> Optional[tuple[int, np.ndarray]]:
    """The one axis along which the units of a strand differ."""
    axes = [
        axis
        for axis in range(strand.ndim)
        if (strand != np.take(strand, [0], axis)).any()
    ]
    if len(axes) != 1:
        return None
    units = np.moveaxis(strand, axes[0], 0)
    return axes[0], units.reshape(len(units), -1)[:, 0]
