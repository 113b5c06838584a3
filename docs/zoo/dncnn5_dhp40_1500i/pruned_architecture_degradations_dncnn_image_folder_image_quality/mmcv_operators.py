"""Compiled operators of mmcv, computed by PyTorch and torchvision.

The names, arguments and conventions are those of ``mmcv._ext``; results are
the same up to rounding. RoIPool is not among them: torchvision rounds its
regions to whole positions, mmcv does not.

An exported model carries a copy of this file, so it imports nothing of mmdhp.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

import torch
from torch import Tensor

MAX, AVERAGE = 0, 1  # pool_mode of RoIAlign
NAIVE, LINEAR, GAUSSIAN = 0, 1, 2  # method of Soft-NMS


def missing(name: str) -> NotImplementedError:
    """The error of an operator that only a compiled mmcv has."""
    return NotImplementedError(
        f'mmcv.ops: {name} was called, but this mmcv was installed without '
        'its compiled operators, and torchvision has nothing that computes '
        'the same. Install mmcv with them: `pip install '
        '--no-build-isolation --no-binary onedl-mmcv onedl-mmcv` compiles '
        'the continuation, `mim install mmcv` gets the original. Or choose a '
        'model without it.'
    )


def _gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor
) -> tuple[Tensor, ...]:
    """Gradients at ``inputs`` of a function, computed once more."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        output = function(*leaves)
    return torch.autograd.grad(output, leaves, grad)


def _enlarged(boxes: Tensor, offset: int) -> Tensor:
    """Boxes whose last pixel, too, has a width: ``x2 - x1 + offset``."""
    return boxes + boxes.new_tensor([0, 0, offset, offset])


def nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int
) -> Tensor:
    """Non-maximum suppression.

    Args:
        boxes (Tensor): Corners, shape ``(n, 4)``.
        scores (Tensor): Shape ``(n, )``.
        iou_threshold (float): Boxes that overlap a better one by more go.
        offset (int): 1 if widths are ``x2 - x1 + 1``, else 0.

    Returns:
        Tensor: Indices of those that stay, best first, shape ``(m, )``.
    """
    from torchvision import ops

    return ops.nms(_enlarged(boxes, offset), scores, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS, on the CPU as in mmcv; writes into ``dets``.

    Source: Bodla et al., Soft-NMS, ICCV 2017, arXiv:1704.04503.

    Args:
        boxes (Tensor): Corners, shape ``(n, 4)``.
        scores (Tensor): Shape ``(n, )``.
        dets (Tensor): Boxes that stay with their scores, shape ``(n, 5)``.
        iou_threshold (float): Overlap from which on a score is lowered.
        sigma (float): Variance of the Gaussian.
        min_score (float): Boxes whose score falls below it go.
        method (int): ``NAIVE``, ``LINEAR`` or ``GAUSSIAN``.
        offset (int): 1 if widths are ``x2 - x1 + 1``, else 0.

    Returns:
        Tensor: Indices of those that stay, best first, shape ``(m, )``.
    """
    from torchvision import ops

    sized = _enlarged(boxes, offset)
    scores, left = scores.clone(), torch.arange(len(boxes))
    stay: list[int] = []
    while len(left):
        best = left[scores[left].argmax()]
        dets[len(stay)] = torch.cat([boxes[best], scores[best, None]])
        stay.append(int(best))
        left = left[left != best]
        overlap = ops.box_iou(sized[best, None], sized[left])[0]
        scores[left] *= _decay(overlap, iou_threshold, sigma, method)
        left = left[scores[left] >= min_score]
    return torch.tensor(stay, dtype=torch.long)


def _decay(
    overlap: Tensor, iou_threshold: float, sigma: float, method: int
) -> Tensor:
    if method == GAUSSIAN:
        return torch.exp(-overlap.square() / sigma)
    lowered = 1 - overlap if method == LINEAR else torch.zeros_like(overlap)
    return torch.where(overlap >= iou_threshold, lowered, 1.0)


def _roi_align(
    features: Tensor, rois: Tensor, options: Mapping[str, Any]
) -> Tensor:
    from torchvision import ops

    if options['pool_mode'] != AVERAGE:
        raise missing("roi_align with pool_mode='max'")
    return ops.roi_align(
        features,
        rois,
        (options['aligned_height'], options['aligned_width']),
        options['spatial_scale'],
        options['sampling_ratio'],
        options['aligned'],
    )


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    **options: Any,
) -> None:
    """RoIAlign with average pooling; writes into ``output``."""
    output.copy_(_roi_align(features, rois, options))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    **options: Any,
) -> None:
    """Adjoint of :func:`roi_align_forward`; writes into ``grad_input``.

    RoIAlign is linear: its gradient is the same at all features.
    """
    (grad,) = _gradients(
        lambda features: _roi_align(features, rois, options),
        [grad_input],
        grad_output,
    )
    grad_input.copy_(grad)


_FAR_OUTSIDE = 1e9  # pixels; reads zeros there


def _deform_conv(
    features: Tensor,
    offset: Tensor,
    mask: Optional[Tensor],
    weight: Tensor,
    options: Mapping[str, Any],
) -> Tensor:
    """Either deformable convolution; the two spell their options apart.

    torchvision infers both numbers of groups from the shapes. Its kernel
    reads beyond its memory at an offset that is not a number.
    """
    from torchvision import ops

    offset = offset.nan_to_num(nan=_FAR_OUTSIDE)
    names = ('stride', 'pad', 'dilation')
    pairs = [(f'{name}_h', f'{name}_w') for name in names]
    if 'dH' in options:
        pairs = [('dH', 'dW'), ('padH', 'padW'), ('dilationH', 'dilationW')]
    stride, padding, dilation = [(options[h], options[w]) for h, w in pairs]
    return ops.deform_conv2d(
        features, offset, weight, None, stride, padding, dilation, mask
    )


def deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **options: Any,
) -> None:
    """Deformable convolution; writes into ``output``."""
    output.copy_(_deform_conv(features, offset, None, weight, options))


def deform_conv_backward_input(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **options: Any,
) -> None:
    """Writes gradients into ``grad_input`` and ``grad_offset``."""
    grads = _gradients(
        lambda x, o: _deform_conv(x, o, None, weight, options),
        [features, offset],
        grad_output,
    )
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[1])


def deform_conv_backward_parameters(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float,
    **options: Any,
) -> None:
    """Adds ``scale`` times the weight's gradient to ``grad_weight``.

    The convolution is linear in its weight, so any weight gives it.
    """
    (grad,) = _gradients(
        lambda weight: _deform_conv(features, offset, None, weight, options),
        [grad_weight],
        grad_output,
    )
    grad_weight.add_(grad, alpha=scale)


def modulated_deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **options: Any,
) -> None:
    """Modulated deformable convolution; writes into ``output``."""
    output.copy_(_deform_conv(features, offset, mask, weight, options))
    if with_bias:
        output += bias.reshape(-1, 1, 1)


def modulated_deform_conv_backward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **options: Any,
) -> None:
    """Writes gradients into the five ``grad_*`` but the last."""
    grads = _gradients(
        lambda x, o, m, w: _deform_conv(x, o, m, w, options),
        [features, offset, mask, weight],
        grad_output,
    )
    targets = (grad_input, grad_offset, grad_mask, grad_weight)
    for target, grad in zip(targets, grads):
        target.copy_(grad)
    if with_bias:
        grad_bias.copy_(grad_output.sum((0, 2, 3)))


def _focal_loss(
    scores: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    from torchvision import ops

    classes = torch.arange(scores.shape[1], device=scores.device)
    hot = (target[:, None] == classes).to(scores)  # (n, c)
    loss = ops.sigmoid_focal_loss(scores, hot, alpha, gamma)
    return loss * weight[target, None] if weight.numel() else loss


def sigmoid_focal_loss_forward(
    scores: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    *,
    gamma: float,
    alpha: float,
) -> None:
    """Focal loss of every score; writes into ``output``.

    Source: Lin et al., Focal Loss, ICCV 2017, arXiv:1708.02002.

    Args:
        scores (Tensor): Before the sigmoid, shape ``(n, c)``.
        target (Tensor): Classes; ``c`` is background, shape ``(n, )``.
        weight (Tensor): By class, shape ``(c, )``, or empty.
        output (Tensor): Losses, shape ``(n, c)``.
        gamma (float): Exponent of the focus.
        alpha (float): Weight of the right class; ``1 - alpha`` of others.
    """
    output.copy_(_focal_loss(scores, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    scores: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    *,
    gamma: float,
    alpha: float,
) -> None:
    """Derivative of every loss by its own score, into ``grad_input``."""
    (grad,) = _gradients(
        lambda x: _focal_loss(x, target, weight, gamma, alpha),
        [scores],
        torch.ones_like(scores),
    )
    grad_input.copy_(grad)


def get_compiler_version() -> str:
    """What mmcv tells about its compiler where it has none."""
    return 'n/a'


def get_compiling_cuda_version() -> str:
    """What mmcv tells about its CUDA compiler where it has none."""
    return 'n/a'
