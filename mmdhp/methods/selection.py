"""From scores to a keep mask that meets a target exactly."""

from operator import itemgetter
from typing import Callable, Optional

import torch
from torch import Tensor

from mmdhp.graph import ChannelGraph, GraphError

CLOSE = 1e-3  # fraction of a budget that may be left


def rank_in_group(scores: Tensor, graph: ChannelGraph) -> Tensor:
    """Rank of every unit in its group, 0 for the best, shape ``(U, )``."""
    group = graph.group_of_unit
    by_score = torch.argsort(
        scores.double().cpu(), descending=True, stable=True
    )
    order = by_score[torch.argsort(group[by_score], stable=True)]
    starts = torch.tensor([g.start for g in graph.groups])
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - starts[group[order]]
    return rank


def threshold_mask(
    scores: Tensor, graph: ChannelGraph, threshold: float, floors: Tensor
) -> Tensor:
    """Keep scores at or above a threshold, and the best of every group.

    Args:
        scores (Tensor): Score of every unit, shape ``(U, )``.
        graph (ChannelGraph): The graph.
        threshold (float): Threshold on the scores.
        floors (Tensor): Units every group keeps at least, ``(groups, )``.

    Returns:
        Tensor: bool, shape ``(U, )``.
    """
    protected = rank_in_group(scores, graph) < floors[graph.group_of_unit]
    return (scores.cpu() >= threshold) | protected


def check_finite(scores: Tensor, graph: ChannelGraph) -> None:
    """Refuse scores that are NaN or infinite.

    Raises:
        ValueError: Naming the groups.
    """
    bad = graph.group_of_unit[~torch.isfinite(scores.cpu())].unique().tolist()
    if bad:
        names = ', '.join(graph.groups[i].name for i in bad[:5])
        raise ValueError(
            f'The scores of {len(bad)} groups are not finite ({names}): '
            'training has diverged. Resume from an earlier checkpoint with a '
            'smaller learning rate or gradient clipping.'
        )


def removals(
    scores: Tensor, graph: ChannelGraph, floors: Tensor, divisor: int
) -> tuple[Tensor, Callable[[int], Tensor]]:
    """The order in which units go, and the masks on the way.

    Args:
        scores (Tensor): float64 on the CPU, shape ``(U, )``.
        graph (ChannelGraph): The graph.
        floors (Tensor): Units every group keeps at least, ``(groups, )``.
        divisor (int): See :func:`select`.

    Returns:
        tuple[Tensor, Callable]: Units that may go, worst first; the mask
        behind a number of removals.
    """
    group = graph.group_of_unit
    rank = rank_in_group(scores, graph)
    sizes = torch.tensor([g.size for g in graph.groups], dtype=torch.long)
    order = torch.argsort(scores, stable=True)
    order = order[(rank >= floors[group])[order]]

    def mask(removed: int) -> Tensor:
        keep = torch.ones(graph.num_units, dtype=torch.bool)
        keep[order[:removed]] = False
        if divisor == 1:
            return keep
        kept = torch.zeros_like(sizes).index_add_(0, group, keep.long())
        rounded = (kept + divisor - 1) // divisor * divisor
        return rank < torch.minimum(rounded, sizes)[group]

    return order, mask


def narrowest(graph: ChannelGraph, floors: Tensor, divisor: int) -> Tensor:
    """A mask of the smallest allowed widths, shape ``(U, )``."""
    scores = torch.zeros(graph.num_units, dtype=torch.float64)
    order, mask = removals(scores, graph, floors, divisor)
    return mask(len(order))


def select(
    scores: Tensor,
    graph: ChannelGraph,
    cost: Callable[[Tensor], float],
    budget: float,
    floors: Tensor,
    divisor: int = 1,
    *,
    fill: bool = False,
    full: Optional[float] = None,
    rises: Optional[Callable[[Tensor], Tensor]] = None,
) -> Tensor:
    """One global threshold that meets a budget, found exactly.

    The threshold runs over the sorted scores, so the result misses the budget
    by less than the cost of one unit. Where kept channels are rounded up to a
    multiple of ``divisor``, further blocks are given back while they fit.

    Args:
        scores (Tensor): Score of every unit, shape ``(U, )``; ties go by
            position, so every process decides alike.
        graph (ChannelGraph): The graph.
        cost (Callable): Cost of a bool mask of shape ``(U, )``.
        budget (float): Largest allowed cost.
        floors (Tensor): Units every group keeps at least, ``(groups, )``.
        divisor (int): Kept channels of a group are a multiple of it, where
            the group is large enough. Defaults to 1.
        fill (bool): Give units that still fit back behind the threshold,
            best first; where the budget is still missed by more than 0.1 %,
            exchange single units. Defaults to False.
        full (float, optional): Cost that the message calls the original.
            Defaults to that of everything.
        rises (Callable, optional): :meth:`mmdhp.costs.Cost.rises` of the
            cost. With it, what cannot fit any more need not be tried.

    Returns:
        Tensor: bool mask of the largest selection within the budget.

    Raises:
        GraphError: If not even the floors fit; says what is reachable.
    """
    scores = scores.double().cpu()
    check_finite(scores, graph)
    order, mask = removals(scores, graph, floors, divisor)
    low, high = 0, len(order)
    if cost(mask(high)) > budget:
        full = full or cost(graph.full())
        raise GraphError(
            f'The target {budget / full:.4g} cannot be reached: with the '
            f'smallest allowed widths {cost(mask(high)) / full:.4g} of the '
            'original is left. Raise the target, or allow smaller widths.'
        )
    while low < high:  # fewest removals within the budget
        middle = (low + high) // 2
        if cost(mask(middle)) <= budget:
            high = middle
        else:
            low = middle + 1
    keep = mask(low)
    if fill or divisor > 1:
        rank = rank_in_group(scores, graph)
        least = torch.zeros_like(scores) if rises is None else rises(keep)
        _fill(keep, order, rank, graph, cost, budget, divisor, least)
    if fill and divisor == 1:
        _exchange(keep, order, scores, graph, cost, budget)
    return keep


def _fill(
    keep: Tensor,
    order: Tensor,
    rank: Tensor,
    graph: ChannelGraph,
    cost: Callable[[Tensor], float],
    budget: float,
    divisor: int,
    least: Tensor,
) -> None:
    """Give back blocks of ``divisor`` units that still fit, in place.

    Rounding, or a unit of many layers, makes the threshold's steps coarse, so
    that one step may leave much of the budget. Best scores come first; a
    group whose next block does not fit is done. Most blocks add more than is
    left even by ``least``, the least that each unit adds: what those cost is
    not computed, since there are as many groups as a network is deep.
    """
    spent = cost(keep)
    done = set()
    best = order.flip(0)
    best = best[~keep[best]]
    for unit, index in zip(best.tolist(), graph.group_of_unit[best].tolist()):
        if index in done or keep[unit]:
            continue
        group = graph.groups[index]
        own = slice(group.start, group.stop)
        wide = rank[own] < int(keep[own].sum()) + divisor
        fits = spent + float(least[own][wide & ~keep[own]].sum()) <= budget
        if fits:
            wider = keep.clone()
            wider[own] = wide
            fits = (more := cost(wider)) <= budget
        if fits:
            keep.copy_(wider)
            spent = more
        else:
            done.add(index)


def _exchange(
    keep: Tensor,
    order: Tensor,
    scores: Tensor,
    graph: ChannelGraph,
    cost: Callable[[Tensor], float],
    budget: float,
) -> None:
    """Swap units of two groups until a budget is met closely, in place.

    In a small network, even the cheapest unit may cost more than what is left
    of the budget. Each swap takes the worst free unit of one group and gives
    back the best ones of another, as many as fit: the swap that leaves least.
    """
    free = torch.zeros_like(keep)
    free[order] = True
    group = graph.group_of_unit
    while budget - (spent := cost(keep)) > CLOSE * budget:
        worst = _by_group(-scores, keep & free, group)
        best = _by_group(scores, ~keep & free, group)
        found = (spent, keep)
        for own, (out, *_) in worst.items():
            for other, units in best.items():
                if own != other:
                    swapped = keep.clone()
                    swapped[out] = False
                    _refill(swapped, units, cost, budget)
                    found = max(
                        found, (cost(swapped), swapped), key=itemgetter(0)
                    )
        if found[0] == spent:
            return
        keep.copy_(found[1])


def _refill(
    keep: Tensor,
    units: list[int],
    cost: Callable[[Tensor], float],
    budget: float,
) -> None:
    """Give units back, in order, while they fit, in place."""
    for unit in units:
        keep[unit] = True
        if cost(keep) > budget:
            keep[unit] = False
            return


def _by_group(
    scores: Tensor, among: Tensor, group: Tensor
) -> dict[int, list[int]]:
    """Some units by their group, best first."""
    units = torch.nonzero(among).flatten()
    ranked = units[torch.argsort(scores[units], descending=True, stable=True)]
    found: dict[int, list[int]] = {}
    for unit, own in zip(ranked.tolist(), group[ranked].tolist()):
        found.setdefault(own, []).append(unit)
    return found
