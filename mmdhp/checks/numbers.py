"""Numbers that are no numbers, found early and reported with their place."""

import math
import os.path as osp
from collections.abc import Mapping
from typing import Any, Optional

import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mmdhp.graph import ChannelGraph

_FIRST = 'first not finite:'
PATIENCE = 10  # steps in a row that a gradient scaler may skip


class FiniteWatch:
    """Remembers the first step whose numbers are not finite.

    To note a step costs a few small operations on the device of the numbers;
    nothing waits for it. The answer is fetched when it is asked for.
    """

    def __init__(self) -> None:
        self._seen: Optional[Tensor] = None
        self._first: dict[str, Tensor] = {}

    @torch.no_grad()
    def note(self, vitals: Mapping[str, Tensor]) -> None:
        """Look at one step.

        Args:
            vitals (Mapping[str, Tensor]): Numbers of every unit by what they
                are, shape ``(U, )`` each.
        """
        if not vitals:
            return
        total = torch.stack([v.sum() for v in vitals.values()]).sum()
        if self._seen is None:
            self._seen = torch.zeros_like(total, dtype=torch.bool)
            self._first = {name: v.clone() for name, v in vitals.items()}
        for name, value in vitals.items():
            self._first[name] = torch.where(
                self._seen, self._first[name], value
            )
        self._seen = self._seen | ~torch.isfinite(total)

    def found(self, graph: ChannelGraph) -> str:
        """What was not finite first, in words; empty if all is finite.

        Args:
            graph (ChannelGraph): Its groups are named.
        """
        if self._seen is None or not bool(self._seen):
            return ''
        for name, value in self._first.items():
            bad = ~torch.isfinite(value.cpu())
            groups = graph.group_of_unit[bad].unique().tolist()
            if len(groups) == len(graph.groups):
                return f'{_FIRST} the {name} of all {len(groups)} groups'
            if groups:
                names = [graph.groups[index].name for index in groups]
                more = ', ...' if len(names) > 5 else ''
                return f'{_FIRST} the {name} of {", ".join(names[:5])}{more}'
        return f'{_FIRST} the sum of the {" or the ".join(self._first)}'


class LossWatch:
    """Ends a search whose losses are not finite.

    A gradient scaler skips steps on purpose, but not many in a row.
    """

    def __init__(self) -> None:
        self._in_a_row = 0

    def check(
        self, runner: Runner, batch: Any, outputs: Optional[dict]
    ) -> None:
        """Look at the loss of an iteration.

        Args:
            runner (Runner): In search.
            batch (Any): As the data loader gave it.
            outputs (dict, optional): Losses of the model.

        Raises:
            RuntimeError: If there is no way on; says what was bad first.
        """
        loss = current_loss(runner, outputs)
        self._in_a_row = 0 if math.isfinite(loss) else self._in_a_row + 1
        wrapper = runner.optim_wrapper
        if self._in_a_row >= (PATIENCE if wrapper.is_scaled else 1):
            raise diverged(
                runner,
                f'the loss is {loss}',
                bad_inputs(batch),
                wrapper.finite.found(wrapper.pruner.graph),
            )


def check_numbers(
    runner: Runner, weights: Optional[Mapping[str, Any]] = None
) -> None:
    """Refuse to go on with numbers that are not finite.

    Args:
        runner (Runner): In search.
        weights (Mapping, optional): State dict of its model, to be looked at
            as well.

    Raises:
        RuntimeError: Naming groups and tensors.
    """
    wrapper = runner.optim_wrapper
    first = wrapper.finite.found(wrapper.pruner.graph)
    bad = bad_tensors(weights or {})
    if bad or first:
        names = f'{", ".join(bad[:5])}{", ..." if bad[5:] else ""}'
        lost = f'{len(bad)} tensors of the model are not finite ({names})'
        raise diverged(runner, lost if bad else '', first)


def current_loss(runner: Runner, outputs: Optional[dict]) -> float:
    """Loss of this iteration, which MMEngine has fetched for its log."""
    history = runner.message_hub.log_scalars.get('train/loss')
    if history is not None:
        return float(history.current())
    loss = (outputs or {}).get('loss', 0.0)
    return float(loss.detach() if isinstance(loss, Tensor) else loss)


def bad_inputs(batch: Any) -> str:
    """Which inputs of a batch are not finite, in words; empty if none.

    Args:
        batch (Any): As the data loader gave it.
    """
    found = batch.get('inputs', batch) if isinstance(batch, dict) else batch
    stacked = list(found) if isinstance(found, Tensor) else found
    tensors = [t for t in tree_leaves(stacked) if isinstance(t, Tensor)]
    bad = sum(not bool(torch.isfinite(tensor).all()) for tensor in tensors)
    if not bad:
        return ''
    return f'{bad} of {len(tensors)} inputs of this batch contain NaN or Inf'


def bad_tensors(state_dict: Mapping[str, Any]) -> list[str]:
    """Names of the tensors that are not finite."""
    return [
        name
        for name, value in state_dict.items()
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and not bool(torch.isfinite(value).all())
    ]


def last_checkpoint(runner: Runner) -> Optional[str]:
    """The last checkpoint that the run has written; None if there is none."""
    folders = [runner.work_dir]
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.out_dir:
            folders.append(str(hook.out_dir))
    for folder in folders:
        marker = osp.join(folder, 'last_checkpoint')
        if osp.isfile(marker):
            with open(marker, encoding='utf-8') as file:
                return file.read().strip()
    return None


def diverged(runner: Runner, *facts: str) -> RuntimeError:
    """The error that ends a search whose numbers are lost.

    Args:
        runner (Runner): The runner.
        *facts (str): What was found; empty ones are left out.
    """
    path = last_checkpoint(runner)
    advice = 'No checkpoint was saved yet: start again'
    if path is not None:
        advice = f'The last good checkpoint is {path}: resume from it'
    return RuntimeError(
        f'The search has diverged at iteration {runner.iter + 1} (rank '
        f'{runner.rank}): {"; ".join(filter(None, facts))}. {advice}, with a '
        'lower learning rate or clip_grad=dict(max_norm=...) in '
        '`optim_wrapper`.'
    )
