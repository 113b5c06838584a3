"""The proof before a cut that it is exact."""

import torch
from mmengine import dist
from torch import Tensor, nn

from mmdhp.graph import ChannelGraph
from mmdhp.models.model_forward import run_model
from mmdhp.surgery import verify

TOLERANCE = 1e-3  # largest relative difference, for single precision


def check_exact(
    model: nn.Module,
    graph: ChannelGraph,
    keep: Tensor,
    input_shape: tuple[int, ...],
) -> float:
    """Prove on random input that cutting changes nothing but zeros.

    Args:
        model (nn.Module): The search model, before the cut.
        graph (ChannelGraph): Its graph.
        keep (Tensor): bool mask, shape ``(U, )``.
        input_shape (tuple[int]): Without the batch axis.

    Returns:
        float: Relative difference of masked and shrunk output, the largest
        of all processes.

    Raises:
        RuntimeError: On every process, if it is too large; the model is not
            changed.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(2, *input_shape, generator=generator).to(device)
    difference = verify(
        model, graph, keep, inputs, forward=run_model, relative=True
    )
    worst = torch.tensor(difference)
    dist.all_reduce(worst, op='max')
    difference = float(worst)
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f'The pruned {type(model).__name__} differs from the masked one '
            f'by {difference:.3g} (relative), more than {TOLERANCE:g}: the '
            'channel graph is wrong for this architecture. Nothing was cut. '
            'Find the module with `mmdhp.verify`, one group at a time, and '
            'add it to `exclude`.'
        )
    return difference
