"""How a search goes: looked at now and then, until it is over."""

import logging
from typing import Any, Optional

from mmengine.logging import print_log
from mmengine.runner import Runner

from mmdhp.checks.numbers import LossWatch
from mmdhp.methods import Progress, Pruner
from mmdhp.stages import decisions
from mmdhp.stages.runner_facts import by_epoch
from mmdhp.stages.schedule import rehearse

from .history import History


class SearchWatch:
    """Looks at a search, tells people and the pruner, and says when it ends.

    Args:
        runner (Runner): It searches.
        pruner (Pruner): Attached pruner.
        history (History): Of the run.
        length (int): Of the search at most, in the train loop's own unit.
        schedulers (dict | list | None): Of the search, as in an MM config.
    """

    def __init__(
        self,
        runner: Runner,
        pruner: Pruner,
        history: History,
        length: int,
        schedulers: Any,
    ) -> None:
        self.runner = runner
        self.pruner = pruner
        self.history = history
        self._losses = LossWatch()
        steps = length
        if by_epoch(runner):
            steps *= len(runner.train_dataloader)
        group = runner.optim_wrapper.optimizer.param_groups[-1]
        rate = group.get('initial_lr', group['lr'])
        self._rates = rehearse(runner, schedulers, rate, steps)

    def plan(self, done: int) -> None:
        """Tell the pruner what is left behind some iterations."""
        left = self._rates[done:]
        updates = len(left) // self.runner.optim_wrapper._accumulative_counts
        self.pruner.plan(updates, sum(left) / max(len(left), 1))

    def check(self, data_batch: Any, outputs: Optional[dict]) -> None:
        """Stop a search whose numbers are lost; see :class:`LossWatch`."""
        self._losses.check(self.runner, data_batch, outputs)

    def look(self, last: bool) -> bool:
        """Note and log how far the search is, behind an iteration.

        Args:
            last (bool): Whether the search is as long as it may be.

        Returns:
            bool: Whether it is over.
        """
        progress = decisions.progress(self.runner)
        log_ratios(self.runner, progress)
        statistics = self.pruner.statistics()
        self.history.look(self.runner, progress, statistics)
        for name, value in statistics.items():
            self.runner.message_hub.update_scalar(f'train/{name}', value)
        self._tell(progress, statistics)
        if last and progress.reached is False:
            print_log(
                'The search ends by its length, not by its own threshold; '
                'the channels with the lowest scores go. A longer search or '
                'a stronger regularization would separate them better.',
                logger='current',
                level=logging.WARNING,
            )
        over = last or bool(progress.reached)
        if not over:
            self.plan(self.runner.iter + 1)
        return over

    def _tell(self, progress: Progress, statistics: dict[str, float]) -> None:
        named = {**progress.others, **statistics}
        more = ', '.join(f'{name} {v:.4g}' for name, v in named.items())
        print_log(
            f'Search at iteration {self.runner.iter + 1}: {progress.macs:.2%} '
            f'of the MACs and {progress.params:.2%} of the parameters are '
            f'left (target: {self.pruner.target}). {more}'.rstrip(),
            logger='current',
        )


def log_ratios(runner: Runner, progress: Progress) -> None:
    """Let the logs show what share of each cost is left."""
    ratios = {'macs': progress.macs, 'params': progress.params}
    for name, ratio in {**ratios, **progress.others}.items():
        runner.message_hub.update_scalar(f'train/{name}_ratio', ratio)
