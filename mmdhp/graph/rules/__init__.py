"""What each operator does to channels: one table, operator → rule.

A rule reads the shadows of a call's inputs, states which channels meet
(``trace.tie``), which must stay (``trace.freeze``), and gives the output its
strands (``trace.set``). A new operator is one line in ``RULES`` and, at most,
one small function. An operator without a rule freezes what flows into it.
"""

from typing import TYPE_CHECKING, Callable, Optional

import torch

from ..tracing.operator_call import Call
from .indexed import (
    channel_shuffle,
    embedding,
    fold,
    index,
    index_along,
    index_put,
    pixel_shuffle,
    pixel_unshuffle,
    reorder,
    restride,
    unfold,
)
from .pieces import (
    concatenate,
    gated_halves,
    pad,
    repeat,
    select,
    slice_axis,
    split,
    stack,
    unbind,
)
from .pointwise import (
    along_axis,
    batch_norm,
    elementwise,
    group_norm,
    layer_norm,
    pooled_regions,
    reduction,
    spatial,
    unpool,
)
from .products import (
    affine_product,
    attention,
    convolution,
    deformable_convolution,
    linear,
    matrix_product,
    vector_product,
)
from .views import (
    expand,
    identity,
    nothing,
    permute,
    squeeze,
    transpose,
    unsqueeze,
    view,
)

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer

Rule = Callable[['Tracer', Call], None]


def find_rule(call: Call) -> Optional[Rule]:
    """Rule of an operator: by name, then by PyTorch's pointwise tag."""
    name = call.name.removeprefix('aten::')
    rule = RULES.get(name) or RULES.get(name.rstrip('_'))
    if rule is not None:
        return rule
    if torch.Tag.pointwise in call.func.tags:
        return elementwise
    return None


RULES: dict[str, Rule] = {
    name: rule
    for rule, names in (
        (convolution, 'convolution'),
        (deformable_convolution, 'torchvision::deform_conv2d'),
        (linear, 'linear'),
        (matrix_product, 'mm bmm'),
        (affine_product, 'addmm baddbmm'),
        (vector_product, 'mv dot vdot'),
        (
            attention,
            'scaled_dot_product_attention '
            '_scaled_dot_product_flash_attention '
            '_scaled_dot_product_flash_attention_for_cpu '
            '_scaled_dot_product_efficient_attention '
            '_scaled_dot_product_attention_math',
        ),
        (
            batch_norm,
            'native_batch_norm _native_batch_norm_legit '
            '_native_batch_norm_legit_no_training cudnn_batch_norm '
            '_batch_norm_with_update _batch_norm_no_update',
        ),
        (group_norm, 'native_group_norm'),
        (layer_norm, 'native_layer_norm'),
        (
            reduction,
            'mean sum amax amin var std var_mean std_mean max min prod norm '
            'linalg_vector_norm argmax argmin any all logsumexp',
        ),
        (
            along_axis,
            '_softmax _safe_softmax _log_softmax cumsum cumprod sort argsort '
            'topk',
        ),
        (
            spatial,
            'max_pool1d_with_indices max_pool2d_with_indices '
            'max_pool3d_with_indices max_pool1d max_pool2d max_pool3d '
            'avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d '
            '_adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d '
            'adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d '
            'reflection_pad1d reflection_pad2d reflection_pad3d '
            'replication_pad1d replication_pad2d replication_pad3d '
            'upsample_nearest1d upsample_nearest2d upsample_nearest3d '
            '_upsample_nearest_exact1d _upsample_nearest_exact2d '
            'upsample_linear1d upsample_bilinear2d upsample_bicubic2d '
            'upsample_trilinear3d _upsample_bilinear2d_aa '
            '_upsample_bicubic2d_aa grid_sampler_2d grid_sampler_3d',
        ),
        (
            elementwise,  # beside all that PyTorch tags as pointwise
            'copy fill zero masked_fill floor_divide hardswish '
            'log_sigmoid_forward _prelu_kernel native_dropout bernoulli',
        ),
        (
            identity,
            'clone detach alias contiguous _to_copy to lift_fresh '
            'lift_fresh_copy zeros_like ones_like empty_like rand_like '
            'randn_like full_like',
        ),
        (
            nothing,
            'zeros ones empty full arange linspace scalar_tensor eye '
            'new_zeros new_ones new_empty new_full randn rand randperm '
            'empty_strided new_empty_strided',
        ),
        (view, 'view _unsafe_view reshape _reshape_alias'),
        (permute, 'permute'),
        (transpose, 'transpose t'),
        (expand, 'expand broadcast_to'),
        (unsqueeze, 'unsqueeze'),
        (squeeze, 'squeeze'),
        (repeat, 'repeat'),
        (slice_axis, 'slice'),
        (select, 'select'),
        (unbind, 'unbind'),
        (split, 'split split_with_sizes unsafe_split'),
        (gated_halves, 'glu'),
        (concatenate, 'cat _unsafe_cat'),
        (stack, 'stack'),
        (pad, 'constant_pad_nd'),
        (pixel_shuffle, 'pixel_shuffle'),
        (pixel_unshuffle, 'pixel_unshuffle'),
        (channel_shuffle, 'channel_shuffle native_channel_shuffle'),
        (reorder, 'flip roll'),
        (unfold, 'im2col'),
        (fold, 'col2im'),
        (restride, 'as_strided'),
        (embedding, 'embedding'),
        (index, 'index'),
        (index_along, 'index_select gather'),
        (index_put, 'index_put'),
        (unpool, 'max_unpool2d max_unpool3d'),
        (pooled_regions, 'torchvision::roi_align torchvision::roi_pool'),
    )
    for name in names.split()
}
