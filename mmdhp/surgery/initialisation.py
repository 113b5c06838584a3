"""Draw a model's weights anew at any widths, as its architecture does."""

import copy
import inspect
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from torch import Tensor, nn

_SAME = 0.1  # logarithm of the ratio of two scales that says nothing
_FEW = 16  # numbers whose scale says nothing


@dataclass(frozen=True)
class Initialiser:
    """How an architecture initialises itself, whatever its widths are.

    PyTorch's layers are reset, then the architecture's own ``init_weights``
    runs. Much code initialises in constructors, which cannot run again: what
    those do is learned from a freshly built model, as the scale of each
    parameter relative to what the two steps above give it.

    Frozen modules and buffers of no layer keep their values.

    Args:
        constants (Mapping[str, float]): Parameters with one value, such as
            norms and residual scales that start at zero.
        gains (Mapping[str, float]): Parameter → factor behind the two steps.
        draws (Mapping[str, tuple]): Parameters that neither step touches →
            mean and standard deviation of a normal distribution.
    """

    constants: Mapping[str, float] = field(default_factory=dict)
    gains: Mapping[str, float] = field(default_factory=dict)
    draws: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    @torch.no_grad()
    def of(cls, model: nn.Module) -> 'Initialiser':
        """Learn from a freshly built model, which stays as it is."""
        fresh, probe = copy.deepcopy(model), copy.deepcopy(model)
        for twin in (fresh, probe):
            drop_pretrained(twin)
        _init_weights(fresh)
        _initialise(probe)
        again = dict(probe.named_parameters())
        before = dict(model.named_parameters())
        constants, gains, draws = {}, {}, {}
        for name, goal in fresh.named_parameters():
            if not goal.requires_grad:
                continue
            value, spread = float(goal.mean()), _spread(goal)
            own = _spread(again[name])
            if not spread:
                constants[name] = value
            elif not own or torch.equal(again[name], before[name]):
                draws[name] = (value, spread)
            elif not _alike(spread, own, goal.numel()):
                gains[name] = spread / own
        return cls(constants, gains, draws)

    @torch.no_grad()
    def apply(self, model: nn.Module, seed: Optional[int] = None) -> None:
        """Initialise, in place.

        Args:
            model (nn.Module): The architecture at any widths.
            seed (int, optional): Draw from generators of one's own, so that
                the weights depend on nothing else and the global generators
                stay as they are. By default those are used.
        """
        device = next(model.parameters()).device
        devices = [device] if device.type == 'cuda' else []
        with torch.random.fork_rng(devices, enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            drop_pretrained(model)
            _initialise(model)
            for name, parameter in model.named_parameters():
                if name in self.constants:
                    parameter.fill_(self.constants[name])
                elif name in self.gains:
                    parameter.mul_(self.gains[name])
                elif name in self.draws:
                    parameter.normal_(*self.draws[name])


def seed_of(keep: Tensor) -> int:
    """A seed that depends on a mask and nothing else.

    Every process, and every resumed run, draws the same weights with it.
    """
    return zlib.crc32(keep.to(torch.uint8).cpu().numpy().tobytes())


def drop_pretrained(model: nn.Module) -> list[str]:
    """Forget the weights that ``init_weights`` would load, in place.

    They belong to other widths.

    Returns:
        list[str]: The files.
    """
    dropped = []
    for module in model.modules():
        found: Any = getattr(module, 'init_cfg', None)
        entries = found if isinstance(found, (list, tuple)) else [found]
        loads = [e for e in entries if _is_pretrained(e)]
        if loads:
            dropped += [str(e.get('checkpoint')) for e in loads]
            left = [e for e in entries if e not in loads]
            module.init_cfg = left or None  # type: ignore[assignment]
    return dropped


def _is_pretrained(entry: Any) -> bool:
    kind = entry.get('type') if isinstance(entry, Mapping) else None
    return getattr(kind, '__name__', kind) in ('Pretrained', 'PretrainedInit')


def _initialise(model: nn.Module) -> None:
    """Reset PyTorch's layers, then run ``init_weights``, in place."""
    for module in reversed(list(model.modules())):  # children first
        own = list(module.parameters(recurse=False))
        frozen = own and not any(p.requires_grad for p in own)
        if not frozen:
            _reset(module)
    _init_weights(model)


def _reset(module: Any) -> None:
    """Let one of PyTorch's layers, or one like them, draw its parameters."""
    reset: Any = getattr(module, 'reset_parameters', None)
    if isinstance(module, nn.MultiheadAttention):
        flag = module._qkv_same_embed_dim  # False with an open forward
        module._qkv_same_embed_dim = module.in_proj_weight is not None
        module._reset_parameters()
        module._qkv_same_embed_dim = flag
    elif _takes_nothing(reset):
        reset()


def _init_weights(model: nn.Module) -> None:
    """Run ``init_weights``; whether it ran before is told as before."""
    run: Any = getattr(model, 'init_weights', None)
    if not _takes_nothing(run):
        return
    modules: list[Any] = list(model.modules())
    flags = {m: m._is_init for m in modules if hasattr(m, '_is_init')}
    for module in flags:
        module._is_init = False
        module.__dict__['_dump_init_info'] = _no_log
    try:
        run()
    finally:
        for module, flag in flags.items():
            module._is_init = flag
            del module.__dict__['_dump_init_info']


def _no_log() -> None:
    """In place of OpenMMLab's two log lines per parameter."""


def _takes_nothing(function: Any) -> bool:
    """Whether something can be called without arguments."""
    if not callable(function):
        return False
    return all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        for p in inspect.signature(function).parameters.values()
    )


def _spread(values: Tensor) -> float:
    """Standard deviation, zero for a constant."""
    values = values.detach().double()
    if (values == values.flatten()[0]).all():
        return 0.0
    return float(values.std(unbiased=False))


def _alike(first: float, second: float, count: int) -> bool:
    """Whether two standard deviations may be of one distribution."""
    tolerance = max(_SAME, 5 / math.sqrt(2 * count))
    return count < _FEW or abs(math.log(first / second)) < tolerance
