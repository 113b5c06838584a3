"""Forwards of common attention modules that fix no number of heads.

Some attention modules take the width of their heads from the width of their
input, so no head could go. Here are the same computations with sizes that
follow from the weights. A module is traced with its open forward, and keeps
it only if it was cut. This file depends on PyTorch only: an exported model
carries a copy of it.
"""

import functools
from typing import Any, Callable, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def open_forward(module: nn.Module) -> Optional[Callable]:
    """The open forward of a module's class, if there is one.

    A subclass with a forward of its own has none.
    """
    kind = next(k for k in type(module).__mro__ if 'forward' in vars(k))
    forward, attributes = _FORWARDS.get(kind.__name__, (None, ()))
    return forward if all(hasattr(module, a) for a in attributes) else None


def install(module: nn.Module) -> None:
    """Let a module run its open forward, in place."""
    forward = open_forward(module)
    if forward is not None:
        module.__dict__['forward'] = functools.partial(forward, module)
        if isinstance(module, nn.MultiheadAttention):
            module._qkv_same_embed_dim = False  # no fused implementation


def install_if_cut(module: nn.Module) -> None:
    """Install the open forward where the original would ask for old sizes."""
    if isinstance(module, nn.MultiheadAttention):
        fits = module.out_proj.weight.shape == (module.embed_dim,) * 2
    else:
        qkv = getattr(module, 'qkv', None)
        shape = getattr(getattr(qkv, 'weight', None), 'shape', (3, 1))
        fits = shape[0] == 3 * shape[1]
    if not fits:
        install(module)


def window_attention(
    module: Any, x: Tensor, mask: Optional[Tensor] = None
) -> Tensor:
    """Attention inside windows, with a relative position bias.

    Source: Liu et al., Swin Transformer, ICCV 2021, arXiv:2103.14030.

    Args:
        module (nn.Module): Holds the layers.
        x (Tensor): Tokens of windows, shape ``(windows · batch, L, C)``.
        mask (Tensor, optional): Added to the scores, ``(windows, L, L)``.

    Returns:
        Tensor: Shape ``(windows · batch, L, C)``.
    """
    batch, length, _ = x.shape
    qkv = module.qkv(x).reshape(batch, length, 3, module.num_heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    scores = (query * module.scale) @ key.transpose(-2, -1)  # (B, heads, L, L)
    index = module.relative_position_index.flatten()
    bias = module.relative_position_bias_table[index]
    scores = scores + bias.reshape(length, length, -1).permute(2, 0, 1)
    if mask is not None:
        apart = (-1, len(mask), module.num_heads, length, length)
        scores = (scores.reshape(apart) + mask[:, None]).flatten(0, 1)
    weights = module.attn_drop(module.softmax(scores))
    mixed = (weights @ value).transpose(1, 2).reshape(batch, length, -1)
    return module.proj_drop(module.proj(mixed))


def multihead_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Optional[Tensor] = None,
    need_weights: bool = True,
    attn_mask: Optional[Tensor] = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Optional[Tensor]]:
    """What :class:`torch.nn.MultiheadAttention` computes.

    Args and returns are those of its ``forward``. A three-dimensional
    ``attn_mask`` has one entry per kept head.
    """
    batched = query.dim() == 3
    first = module.batch_first or not batched
    query, key, value = (
        _batch_first(x, batched, first) for x in (query, key, value)
    )
    if key_padding_mask is not None and not batched:
        key_padding_mask = key_padding_mask[None]
    query, key, value = _projected(module, query, key, value)
    masks = _Masks(attn_mask, key_padding_mask)
    if module.bias_k is not None:
        count = len(key)
        key = _appended(key, module.bias_k.expand(count, -1, -1))
        value = _appended(value, module.bias_v.expand(count, -1, -1))
        masks = masks.wider()
    if module.add_zero_attn:
        key, value = F.pad(key, (0, 0, 0, 1)), F.pad(value, (0, 0, 0, 1))
        masks = masks.wider()
    query, key, value = (
        x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2)
        for x in (query, key, value)
    )  # (B, heads, L, d)
    mask = masks.merged(query, module.num_heads)
    dropout = module.dropout if module.training else 0.0
    weights = None
    if need_weights:
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        scores = scores if mask is None else scores + mask
        weights = F.dropout(scores.softmax(-1), dropout)
        out = weights @ value
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights[0]
    else:
        out = F.scaled_dot_product_attention(query, key, value, mask, dropout)
    out = module.out_proj(out.transpose(1, 2).flatten(2))
    out = out if batched else out[0]
    return out if first else out.transpose(0, 1), weights


def _batch_first(x: Tensor, batched: bool, first: bool) -> Tensor:
    if not batched:
        return x[None]
    return x if first else x.transpose(0, 1)


def _projected(
    module: Any, query: Tensor, key: Tensor, value: Tensor
) -> list[Tensor]:
    """Queries, keys and values, each of shape ``(B, L, heads · d)``."""
    weights = (
        module.q_proj_weight,
        module.k_proj_weight,
        module.v_proj_weight,
    )
    if module.in_proj_weight is not None:
        weights = module.in_proj_weight.chunk(3)
    biases: Any = (None, None, None)
    if module.in_proj_bias is not None:
        biases = module.in_proj_bias.chunk(3)
    return [
        F.linear(x, weight, bias)
        for x, weight, bias in zip((query, key, value), weights, biases)
    ]


def _appended(x: Tensor, token: Tensor) -> Tensor:
    return torch.cat([x, token], dim=1)


class _Masks:
    """Masks of positions (L, S) or (B · heads, L, S), and of keys (B, S)."""

    def __init__(
        self, positions: Optional[Tensor], keys: Optional[Tensor]
    ) -> None:
        self.positions, self.keys = positions, keys

    def wider(self) -> '_Masks':
        """With one key more, which all may see."""
        pair = (self.positions, self.keys)
        return _Masks(*(m if m is None else F.pad(m, (0, 1)) for m in pair))

    def merged(self, query: Tensor, heads: int) -> Optional[Tensor]:
        """What is added to the scores, broadcastable to (B, heads, L, S)."""
        total = None
        if self.positions is not None:
            total = _additive(self.positions, query)
            if total.dim() == 3:
                total = total.unflatten(0, (-1, heads))
        if self.keys is not None:
            keys = _additive(self.keys, query)[:, None, None]
            total = keys if total is None else total + keys
        return total


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(
        mask, float('-inf')
    )


_WINDOW = (
    window_attention,
    ('qkv', 'proj', 'num_heads', 'scale', 'softmax', 'attn_drop', 'proj_drop')
    + ('relative_position_bias_table', 'relative_position_index'),
)
# Class name → forward, and the attributes that it needs.
_FORWARDS: dict[str, tuple[Callable, tuple[str, ...]]] = {
    'MultiheadAttention': (multihead_attention, ('in_proj_weight', 'bias_k')),
    'WindowMSA': _WINDOW,  # Swin Transformer in MMPretrain and MMDetection
    'WindowAttention': _WINDOW,  # SwinIR
}
