"""The life of a pruning run: search, transition, fine-tune, export."""

import logging
from typing import Any, Optional

from mmengine import dist
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmdhp.checkpoints.checkpoint_file import check_start
from mmdhp.checkpoints.saving import (
    protect_checkpoints,
    release_replaced,
    save_transition,
)
from mmdhp.checks.exactness import check_exact
from mmdhp.checks.run import (
    check_data,
    check_optimizer_state,
    check_runner,
    check_weights_named,
)
from mmdhp.checks.weights import check_trained
from mmdhp.methods.options import (
    accepted,
    check_choices,
    check_flag,
    check_int,
    unknown_keys,
)
from mmdhp.registry import HOOKS
from mmdhp.release.folder import check_exportable
from mmdhp.release.run_export import export
from mmdhp.stages import decisions
from mmdhp.stages.calibration import recalibrate, show_gradients
from mmdhp.stages.compilation import compile_again, step_eagerly
from mmdhp.stages.random_state import rng_state
from mmdhp.stages.runner_facts import (
    by_epoch,
    loop_length,
    position,
    set_loop_length,
    unwrapped,
)
from mmdhp.stages.schedule import known_schedulers, start_stage
from mmdhp.stages.search_data import SearchData
from mmdhp.stages.search_options import check_search, search_length
from mmdhp.stages.transition import cut
from mmdhp.stages.undo import undone_on_error

from .history import History
from .latency import measured_latency
from .messages import announcement, group_table
from .optim_wrapper import check_searching
from .resumable_hook import ResumableHook
from .search_watch import SearchWatch, log_ratios

OPTIMIZER_STATES = ('new', 'sliced')


@HOOKS.register_module()
class PruningHook(ResumableHook):
    """Takes a run from search to the small model, fine-tuning and export.

    The base config's ``train_cfg``, optimizer and schedulers are the
    fine-tune stage. The search comes before it and lengthens training.

    Args:
        search (dict, optional): ``max_epochs`` or ``max_iters`` (in the unit
            of the train loop; an upper bound, the pruner may stop earlier),
            and ``param_scheduler`` (as in MM configs, counted from the start
            of the search). By default a fraction of the fine-tune length, 20 %
            for most methods, at constant learning rate. ``samples`` is a
            number of training samples, drawn once, that the search sees
            instead of all; ``dataloader`` (dict) is what differs in the
            search from ``train_dataloader``. A method without a search takes
            none of it.
        interval (int): Iterations between two looks at the search. Defaults
            to 100.
        optimizer_state (str): ``'new'``, or ``'sliced'`` to carry momentum
            and moments of directly trained parameters (norms, biases,
            classifier) into the fine-tune stage. Defaults to ``'new'``.
        recalibrate (int): Training batches from which BatchNorm statistics
            are estimated anew behind the transition. Defaults to 0.
        verify (bool): Prove before the cut that the masked and the shrunk
            model agree. Defaults to True.
        export (bool): Write ``WORK_DIR/pruned/`` at the end. Defaults to
            True.
        **unknown: Refused, with the name of the nearest argument.
    """

    def __init__(
        self,
        search: Optional[dict] = None,
        interval: int = 100,
        optimizer_state: str = 'new',
        recalibrate: int = 0,
        verify: bool = True,
        export: bool = True,
        **unknown: Any,
    ) -> None:
        super().__init__()
        problem = unknown_keys('PruningHook', unknown, accepted(type(self)))
        if problem:
            raise TypeError(problem)
        self.search = check_search(search)
        check_int('PruningHook: interval', interval, 1)
        check_choices(
            {'optimizer_state': optimizer_state},
            {'optimizer_state': OPTIMIZER_STATES},
            'PruningHook: ',
        )
        check_int('PruningHook: recalibrate', recalibrate, 0)
        check_flag('PruningHook: verify', verify)
        check_flag('PruningHook: export', export)
        self.interval = interval
        self.optimizer_state = optimizer_state
        self.recalibrate = recalibrate
        self.verify = verify
        self.export = export
        self.metrics: dict[str, float] = {}

    def before_run(self, runner: Runner) -> None:
        """Make room for the search in front of the base config's training.

        Raises:
            TypeError: If the optimizer wrapper is not one that searches.
            ValueError: If the fine-tune schedulers are not known as a config.
        """
        check_runner(runner)
        check_start(runner)
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper) or hasattr(self, 'pruner'):
            return  # testing, perhaps behind the training
        check_searching(wrapper)
        self._schedulers = known_schedulers(runner)
        self.fine_tune_length = loop_length(runner)
        self.search_length = search_length(
            runner,
            self.search,
            self.fine_tune_length,
            wrapper.pruner.search_fraction,
        )
        check_data(runner)
        if self.export:
            check_exportable(runner.cfg)
        self.pruner = wrapper.pruner
        check_optimizer_state(self.optimizer_state, self.pruner)
        if self.pruner.keeps_weights:
            check_weights_named(runner, self.pruner.name)
        protect_checkpoints(runner)
        self._build_fine_tune = wrapper.build_fine_tune
        wrapper.has_hook = True
        step_eagerly(runner, wrapper)
        self.data = SearchData(runner, self.search)
        self.data.begin(runner)
        wrapper.reset_settings()  # the Runner's schedulers have started
        start_stage(
            runner,
            wrapper,
            self.search.get('param_scheduler'),
            self.search_length,
        )
        set_loop_length(runner, self.search_length + self.fine_tune_length)

    def before_train(self, runner: Runner) -> None:
        """Write the first weights, select at once, or continue a search."""
        self.continue_random(runner)
        lengths = (self.search_length, self.fine_tune_length)
        self.history = History(runner, self.pruner, self.state, lengths)
        if self.state != 'search':
            return
        if self.pruner.keeps_weights:
            check_trained(unwrapped(runner), self.pruner.name)
        if self.due and not by_epoch(runner):
            self.data.end(runner, runner.iter)
        self._begin_search(runner)
        print_log(
            announcement(
                self.pruner,
                self.search_length,
                self.fine_tune_length,
                'epochs' if by_epoch(runner) else 'iterations',
            ),
            logger='current',
        )
        if not self.search_length:
            show_gradients(runner, self.pruner)
            self._transition(runner)

    def _begin_search(self, runner: Runner) -> None:
        """The same search variables everywhere, and the first weights."""
        for value in self.pruner.program.state_dict().values():
            dist.broadcast(value)
        if not self.pruner.trains_model:
            runner.model = unwrapped(runner)  # DDP would wait for gradients
            compile_again(runner)
        self.pruner.enter(unwrapped(runner))
        self.watch = SearchWatch(
            runner,
            self.pruner,
            self.history,
            self.search_length,
            self.search.get('param_scheduler'),
        )
        self.watch.plan(runner.iter)
        self.pruner.push()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Look at the search now and then; decide when it is over."""
        if self.state != 'search':
            return
        self.watch.check(data_batch, outputs)
        if self.due:
            return
        last = not by_epoch(runner) and runner.iter + 1 >= self.search_length
        if last or self.every_n_train_iters(runner, self.interval):
            self.due = self.watch.look(last)
        if self.due and not by_epoch(runner):
            self.data.end(runner, runner.iter + 1)
            self.rng_at_cut = rng_state()

    def after_train_epoch(self, runner: Runner) -> None:
        """The search ends with the epoch in which it is over."""
        if self.state == 'search' and not self.due:
            if runner.epoch + 1 >= self.search_length:
                self.due = self.watch.look(last=True)

    def before_train_epoch(self, runner: Runner) -> None:
        """Transition between two epochs."""
        if by_epoch(runner) and self.state == 'search' and self.due:
            self._transition(runner)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Transition between two iterations."""
        release_replaced(runner)
        if self.state != 'search':
            return
        if not by_epoch(runner) and self.due:
            self._transition(runner)
        else:
            self.pruner.set_mode(unwrapped(runner))

    def _transition(self, runner: Runner) -> None:
        try:
            keep = decisions.selection(runner)
        finally:
            self.pruner.leave(unwrapped(runner))
        with undone_on_error(runner, self):
            proof = self._proof(runner, keep)
            self.latency = measured_latency(self.pruner, keep)
            self.history.cut(runner, keep, self.pruner.ratios(keep))
            self.restructure(runner, keep, position(runner))
        compile_again(runner)
        runner.optim_wrapper.initialize_count_status(
            runner.model, runner.iter, runner.train_loop.max_iters
        )
        recalibrate(runner, self.recalibrate)
        log_ratios(runner, self.pruner.standing(keep, reached=None))
        for name in self.pruner.statistics():  # of the search alone
            runner.message_hub.log_scalars.pop(f'train/{name}', None)
        print_log(
            'Transition to fine-tuning.\n'
            f'{group_table(self.pruner, keep)}'
            f'{proof}',
            logger='current',
        )
        save_transition(runner)
        self.rng_at_cut = None
        self.metrics = {}
        runner.model.train()

    def _proof(self, runner: Runner, keep: Tensor) -> str:
        if not self.verify:
            return ''
        difference = check_exact(
            unwrapped(runner), self.pruner.graph, keep, self.pruner.input_shape
        )
        return f' Masked against shrunk output: {difference:.1e}.'

    def restructure(self, runner: Runner, keep: Tensor, start: int) -> None:
        """Small model, its optimizer, schedulers and length, in place."""
        self.data.end(runner, start)
        wrapper = cut(
            runner,
            self.pruner,
            keep,
            self._build_fine_tune,
            self.optimizer_state == 'sliced',
        )
        self.keep, self.state, self.start = keep, 'fine_tune', start
        start_stage(runner, wrapper, self._schedulers, self.fine_tune_length)
        set_loop_length(runner, start + self.fine_tune_length)

    def before_val(self, runner: Runner) -> None:
        """Let a validation in the search see what the pruner shows."""
        super().before_val(runner)
        training = isinstance(runner.optim_wrapper, OptimWrapper)
        if training and self.state == 'search':
            self.pruner.preview()

    def after_val_epoch(
        self, runner: Runner, metrics: Optional[dict[str, float]] = None
    ) -> None:
        """Remember the last metrics for the exported files."""
        self.metrics = dict(metrics or {})
        if hasattr(self, 'history'):
            self.history.validation(runner, self.metrics)

    def after_train(self, runner: Runner) -> None:
        """Export."""
        release_replaced(runner)
        if self.keep is None:
            self.pruner.leave(unwrapped(runner))
            print_log(
                'Training has ended in the search stage, so nothing was '
                'pruned or exported. What stopped it (EarlyStoppingHook?) '
                'should begin later.',
                logger='current',
                level=logging.WARNING,
            )
        elif self.export:
            if not self.metrics and runner.val_loop is not None:
                runner.val_loop.run()  # resumed behind the last validation
            self.export_model(runner)
        self.history.end(runner)

    def export_model(self, runner: Runner) -> None:
        """Write the folder of the pruned model."""
        if self.keep is not None and dist.is_main_process():
            folder = export(
                runner, self.pruner, self.keep, self.metrics, self.latency
            )
            print_log(f'Pruned model: {folder}', logger='current')
        dist.barrier()
