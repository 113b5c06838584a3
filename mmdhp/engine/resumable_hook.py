"""Where a pruning run stands, in its checkpoints and behind a resume."""

import logging
from abc import ABC, abstractmethod
from typing import Any, Optional

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmdhp.checkpoints.record import (
    KEY,
    check_groups,
    make_record,
    read_record,
)
from mmdhp.checks.numbers import check_numbers
from mmdhp.checks.weights import check_complete, check_unpruned
from mmdhp.methods import Pruner
from mmdhp.stages.calibration import share_statistics
from mmdhp.stages.random_state import own_generator, rng_state, set_rng_state
from mmdhp.stages.runner_facts import by_epoch, unwrapped
from mmdhp.stages.search_data import skip_quietly
from mmdhp.stages.transition import reset_hooks
from mmdhp.surgery import resize, state_shapes


class ResumableHook(Hook, ABC):
    """Writes and reads a run's record, and restores its structure from it.

    A resumed run draws the random numbers of an uninterrupted one.

    Attributes:
        state (str): ``'search'`` or ``'fine_tune'``.
        due (bool): Whether the search is over, the transition comes next.
        keep (Tensor | None): The mask, shape ``(U, )``, in fine-tuning.
        start (int): Start of fine-tuning, in the train loop's unit.
        latency (dict | None): Measured at the transition, if it is a target.
        rng_at_cut (dict | None): Generators before the batch at hand: a run
            that is resumed at the transition reads that batch again.
    """

    priority = 'VERY_HIGH'  # restructures before other hooks load their state

    def __init__(self) -> None:
        self.pruner: Pruner
        self.state = 'search'
        self.due = False
        self.keep: Optional[Tensor] = None
        self.latency: Optional[dict[str, Any]] = None
        self.start = 0
        self.rng_at_cut: Optional[dict] = None
        self._resumed_rng: Optional[dict] = None
        self._rng_before_val: Optional[dict] = None

    @abstractmethod
    def restructure(self, runner: Runner, keep: Tensor, start: int) -> None:
        """Small model, its optimizer, schedulers and length, in place."""

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the run's record; never save a search that is lost.

        Raises:
            RuntimeError: If there are numbers that are not finite.
        """
        if self.state == 'search':
            check_numbers(runner, checkpoint['state_dict'])
        record = make_record(self.pruner, self.state)
        record['rng'] = self.rng_at_cut or self._rng_before_val or rng_state()
        if self.keep is None:
            record['search'] = self.pruner.state_dict()
            record['due'] = self.due
        else:
            record['keep'] = self.keep
            record['start'] = self.start
            if self.latency is not None:
                record['latency'] = self.latency
        checkpoint[KEY] = record

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Structure first; the Runner then loads weights and optimizer."""
        weights = checkpoint.get('state_dict', checkpoint)
        if not isinstance(runner.optim_wrapper, OptimWrapper):  # testing
            resize(unwrapped(runner), state_shapes(weights))
            reset_hooks(runner)
        elif self.state == 'search' and runner._resume:
            self._resume(runner, read_record(checkpoint))
        elif self.state == 'search':
            check_unpruned(weights, self.pruner.graph)
            if self.pruner.keeps_weights:
                check_complete(weights, self.pruner)
                return
            print_log(
                f'{self.pruner.name} generates conv weights: those of '
                '`load_from` are replaced; norms, biases and the classifier '
                'are used.',
                logger='current',
                level=logging.WARNING,
            )

    def _resume(self, runner: Runner, record: dict[str, Any]) -> None:
        check_groups(record, self.pruner.graph)
        self._resumed_rng = record['rng']
        if record['state'] == 'search':
            self.pruner.load_state_dict(record['search'])
            self.due = record['due']
            if self.due and not by_epoch(runner):
                self.rng_at_cut = record['rng']
        else:
            self.latency = record.get('latency')
            self.restructure(runner, record['keep'].cpu(), record['start'])

    def continue_random(self, runner: Runner) -> None:
        """Let random numbers go on where the resumed run stopped."""
        own_generator(runner)
        skip_quietly(runner)
        if self._resumed_rng is not None and dist.is_main_process():
            set_rng_state(self._resumed_rng)
        self._resumed_rng = None

    def before_val(self, runner: Runner) -> None:
        """Remember the generators: a resumed run skips validations."""
        share_statistics(runner)
        self._rng_before_val = rng_state()

    def after_val(self, runner: Runner) -> None:
        """Train on as if there had been no validation."""
        if self._rng_before_val is not None:
            set_rng_state(self._rng_before_val)
            self._rng_before_val = None
