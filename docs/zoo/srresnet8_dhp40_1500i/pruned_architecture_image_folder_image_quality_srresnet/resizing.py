"""Give the layers of a model new widths, from tensor shapes alone.

This file depends on PyTorch only, but for one like it: an exported model
carries copies of both, so that it loads where ``mmdhp`` is not installed.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from .open_forward import install_if_cut

Shapes = Mapping[str, tuple[int, ...]]
Attributes = Mapping[str, int]

KEY = 'mmdhp_attributes'  # in the metadata of a state dict
FORMAT_VERSION = 1  # of exported files
OLDEST_VERSION = 1  # that is still read


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers by state-dict name, aliases too."""
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, tensor in (
            *module._parameters.items(),
            *module._buffers.items(),
        ):
            if (
                tensor is not None
                and name not in module._non_persistent_buffers_set
            ):
                yield f'{prefix}.{name}' if prefix else name, tensor


def mismatches(model: nn.Module, shapes: Shapes) -> list[str]:
    """Why ``shapes`` cannot be widths of ``model``, one line per tensor.

    A tensor keeps its number of axes, and a convolution its kernel.
    """
    own = {name: tuple(t.shape) for name, t in named_tensors(model)}
    kernels = {
        f'{prefix}.weight'.lstrip('.')
        for prefix, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, _ConvNd)
    }
    problems = [f'{name}: missing' for name in own if name not in shapes]
    for name, shape in shapes.items():
        if name not in own:
            problems.append(f'{name}: unknown to the architecture')
            continue
        fixed = slice(2, None) if name in kernels else slice(0)
        old = own[name]
        if len(shape) != len(old) or tuple(shape[fixed]) != old[fixed]:
            problems.append(f'{name}: shape {tuple(shape)} against {old}')
    return problems


def resize(
    model: nn.Module, shapes: Shapes, attributes: Optional[Attributes] = None
) -> nn.Module:
    """Give a model's tensors the shapes of a checkpoint, in place.

    Tensors that change get zeros: load the checkpoint next. Parameter objects
    stay the same ones.

    Args:
        model (nn.Module): Freshly built architecture.
        shapes (Mapping[str, tuple]): Shape of every parameter and persistent
            buffer, by state-dict name.
        attributes (Mapping[str, int], optional): As for
            :func:`set_attributes`.

    Returns:
        nn.Module: ``model``.

    Raises:
        ValueError: If ``shapes`` belongs to another architecture; nothing is
            changed then.
    """
    problems = mismatches(model, shapes)
    if problems:
        shown = '\n  '.join(problems[:8])
        more = f'\n  ... and {len(problems) - 8} more' if problems[8:] else ''
        raise ValueError(
            f'The checkpoint does not fit {type(model).__name__}: '
            f'{len(problems)} of {len(shapes)} tensors differ by more than '
            f'their widths.\n  {shown}{more}\nBuild the architecture that '
            'was pruned (same type, depth and kernel sizes).'
        )
    for name, tensor in named_tensors(model):
        if tuple(tensor.shape) != tuple(shapes[name]):
            tensor.data = tensor.new_zeros(shapes[name])
    refresh(model)
    set_attributes(model, attributes or {})
    return model


def resize_on_load(model: nn.Module) -> nn.Module:
    """Let ``model.load_state_dict`` accept other widths, in place.

    Missing and unexpected keys are treated as ever, by ``strict``.

    Returns:
        nn.Module: ``model``, the same object.
    """
    model._register_load_state_dict_pre_hook(_resize_hook, with_module=True)
    return model


def _resize_hook(
    module: nn.Module,
    state_dict: dict[str, Tensor],
    prefix: str,
    metadata: dict[str, Any],
    *_: Any,
) -> None:
    shapes = {name: tuple(t.shape) for name, t in named_tensors(module)}
    for name in shapes:
        tensor = state_dict.get(prefix + name)
        if isinstance(tensor, Tensor):
            shapes[name] = tuple(tensor.shape)
    resize(module, shapes, metadata.get(KEY))


# ------------------------------------------------------------------ attributes
def set_attributes(model: nn.Module, values: Attributes) -> None:
    """Change the sizes that modules hold as plain integers, in place.

    State dicts of the model tell them from now on, in their metadata.

    Args:
        model (nn.Module): The model.
        values (Mapping[str, int]): ``'module.attribute'``, or
            ``'module.attribute[index]'`` for an item of a list or tuple, →
            value.

    Raises:
        AttributeError: If the model has no such module or attribute.
    """
    for name, value in values.items():
        owner, _, attribute = name.rpartition('.')
        module = model.get_submodule(owner)
        attribute, _, index = attribute.rstrip(']').partition('[')
        found: Any = getattr(module, attribute)
        if index:
            items = list(found)
            items[int(index)] = value
            value = type(found)(items)
        setattr(module, attribute, value)
    if values:
        for key, hook in model._state_dict_hooks.items():
            if isinstance(hook, _AttributeRecord):
                record = _AttributeRecord({**hook.values, **values})
                model._state_dict_hooks[key] = record
                return
        model._register_state_dict_hook(_AttributeRecord(dict(values)))


class _AttributeRecord:
    """Writes changed attributes into the metadata of a model's state dicts."""

    def __init__(self, values: dict[str, int]) -> None:
        self.values = values

    def __call__(
        self, module: nn.Module, state: Any, prefix: str, metadata: dict
    ) -> None:
        metadata[KEY] = dict(self.values)


def state_attributes(state_dict: Mapping[str, Any]) -> Attributes:
    """Changed attributes that a state dict tells in its metadata."""
    metadata = getattr(state_dict, '_metadata', None) or {}
    return metadata.get('', {}).get(KEY, {})


def refresh(model: nn.Module) -> None:
    """Make attributes that mirror shapes agree with the tensors, in place.

    Attributes must still describe the widths before the change: the number of
    groups follows from how the widths changed.
    """
    modules = list(model.modules())
    for module in reversed(modules):  # children first: parents mirror them
        install_if_cut(module)
        for kind, fix in _FIXES.items():
            if isinstance(module, kind):
                fix(module)
                break
        for base in type(module).__mro__:
            for name, value in _MIRRORS.get(base.__name__, {}).items():
                _mirror(module, name, value)


def derive_again(model: nn.Module) -> None:
    """Let modules derive again what they derive when their mode is set.

    Some precompute for evaluation what follows from their parameters.
    """
    modes = [(module, module.training) for module in model.modules()]
    for module, training in modes:
        if type(module).train is not nn.Module.train:
            module.train(training)
    for module, training in modes:
        module.training = training


def _mirror(module: nn.Module, name: str, value: Callable[[Any], Any]) -> None:
    if hasattr(module, name):
        try:
            setattr(module, name, value(module))
        except AttributeError:  # a variant without that child
            pass


def _fix_conv(conv: Any) -> None:
    inputs, outputs = conv.weight.shape[1], conv.weight.shape[0]
    if isinstance(conv, _ConvTransposeNd):
        inputs, outputs = outputs, inputs
    if conv.groups == 1:
        conv.in_channels, conv.out_channels = inputs, outputs
        return
    by_group, inside = conv.weight.shape[:2]
    old = conv.out_channels
    if isinstance(conv, _ConvTransposeNd):
        old = conv.in_channels
    if conv.groups >= conv.in_channels // conv.groups:
        conv.groups = by_group // (old // conv.groups)
    total = inside * conv.groups
    if isinstance(conv, _ConvTransposeNd):
        conv.in_channels, conv.out_channels = by_group, total
    else:
        conv.in_channels, conv.out_channels = total, by_group


def _fix_linear(layer: Any) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _fix_batch_norm(norm: Any) -> None:
    for tensor in (norm.weight, norm.running_mean):
        if tensor is not None:
            norm.num_features = len(tensor)


def _fix_group_norm(norm: Any) -> None:
    if norm.weight is not None:
        per_group = norm.num_channels // norm.num_groups
        norm.num_channels = len(norm.weight)
        norm.num_groups = max(norm.num_channels // per_group, 1)


def _fix_layer_norm(norm: Any) -> None:
    if norm.weight is not None:
        norm.normalized_shape = tuple(norm.weight.shape)


def _fix_prelu(layer: Any) -> None:
    layer.num_parameters = len(layer.weight)


def _fix_embedding(layer: Any) -> None:
    layer.embedding_dim = layer.weight.shape[1]


_FIXES: dict[type, Callable[[Any], None]] = {
    _ConvNd: _fix_conv,
    nn.Linear: _fix_linear,
    _NormBase: _fix_batch_norm,
    nn.GroupNorm: _fix_group_norm,
    nn.LayerNorm: _fix_layer_norm,
    nn.PReLU: _fix_prelu,
    nn.Embedding: _fix_embedding,
}

# Attributes by which OpenMMLab's modules repeat a child's width.
_MIRRORS: dict[str, dict[str, Callable[[Any], Any]]] = {
    'ConvModule': {
        'in_channels': lambda m: m.conv.in_channels,
        'out_channels': lambda m: m.conv.out_channels,
        'groups': lambda m: m.conv.groups,
    },
    'DepthwiseSeparableConvModule': {
        'in_channels': lambda m: m.depthwise_conv.in_channels,
        'out_channels': lambda m: m.pointwise_conv.out_channels,
    },
    'PixelShufflePack': {
        'in_channels': lambda m: m.upsample_conv.in_channels,
        'out_channels': lambda m: (
            m.upsample_conv.out_channels // m.scale_factor**2
        ),
    },
    'BasicBlock': {
        'in_channels': lambda m: m.conv1.in_channels,
        'mid_channels': lambda m: m.conv1.out_channels,
        'out_channels': lambda m: m.conv2.out_channels,
    },
    'Bottleneck': {
        'in_channels': lambda m: m.conv1.in_channels,
        'mid_channels': lambda m: m.conv1.out_channels,
        'out_channels': lambda m: m.conv3.out_channels,
    },
    'LinearClsHead': {'in_channels': lambda m: m.fc.in_features},
}


def state_shapes(state_dict: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of a state dict."""
    return {
        name: tuple(value.shape)
        for name, value in state_dict.items()
        if isinstance(value, torch.Tensor)
    }


# -------------------------------------------------------------- exported files
def read_channels(path: str) -> dict[str, Any]:
    """Read an exported ``channels.json``.

    Args:
        path (str): Of the file.

    Returns:
        dict: Its content; ``'shapes'`` is name → shape of what was cut.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, something else, or of a format that is
            newer or too old.
    """
    try:
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'There is no {path}. A run writes it to WORK_DIR/pruned/ at its '
            'end; give its path as `channels`.'
        ) from None
    except (ValueError, IsADirectoryError) as error:
        raise ValueError(
            f'{path} is no JSON file, or is damaged ({error}). Give the '
            'channels.json of an exported folder as `channels`.'
        ) from None
    problem = _channels_problem(found)
    if problem:
        raise ValueError(f'{path} cannot be used as `channels`: {problem}')
    return found


def _channels_problem(found: Any) -> str:
    """Why content is not that of a ``channels.json``; empty if it is."""
    # Files that tell no version are like those of version 1.
    version = found.get('format_version', 1) if isinstance(found, dict) else 1
    if not isinstance(version, int) or isinstance(version, bool):
        return f'its format_version is {version!r}, not a number.'
    if version > FORMAT_VERSION:
        return (
            f'it has format {version}, but this mmdhp reads up to '
            f'{FORMAT_VERSION}. Update mmdhp.'
        )
    if version < OLDEST_VERSION:
        return (
            f'it has format {version}, of an older mmdhp; this one reads '
            f'{OLDEST_VERSION} to {FORMAT_VERSION}. Export the model again: '
            'resume the last checkpoint of its run.'
        )
    shapes = found.get('shapes') if isinstance(found, dict) else None
    known = isinstance(shapes, dict) and all(map(_is_shape, shapes.values()))
    if not known:
        return 'it has no `shapes`, so it was not exported by mmdhp.'
    return ''


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(n, int) for n in value)
