"""The life of a pruning run: search, transition, fine-tune, export."""
import os.path as osp
from typing import Any, Optional

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmdhp.methods import Pruner
from mmdhp.registry import HOOKS
from mmdhp.surgery import resize, state_shapes

from .export import export
from .optim_wrapper import PruningAmpOptimWrapper, PruningOptimWrapper
from .record import (
    FORMAT_VERSION,
    KEY,
    check_groups,
    read_record,
    rng_state,
    set_rng_state,
)
from .report import group_table
from .transition import (
    by_epoch,
    check_exact,
    check_ranks_agree,
    cut,
    loop_length,
    recalibrate,
    reset_hooks,
    set_loop_length,
    start_schedulers,
    unwrapped,
)

OPTIMIZER_STATES = ('new', 'sliced')


@HOOKS.register_module()
class PruningHook(Hook):
    """Takes a run from search to the small model, fine-tuning and export.

    The base config's ``train_cfg``, optimizer and schedulers are the
    fine-tune stage. The search comes before it and lengthens training.

    Args:
        search (dict, optional): ``max_epochs`` or ``max_iters`` (in the unit
            of the train loop; an upper bound, the pruner may stop earlier),
            and ``param_scheduler`` (as in MM configs, counted from the start
            of the search). By default 20 % of the fine-tune length at
            constant learning rate.
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
    """

    priority = 'VERY_HIGH'  # restructures before other hooks load their state

    def __init__(
        self,
        search: Optional[dict] = None,
        interval: int = 100,
        optimizer_state: str = 'new',
        recalibrate: int = 0,
        verify: bool = True,
        export: bool = True,
    ) -> None:
        if not isinstance(interval, int) or interval < 1:
            raise ValueError(f'interval is {interval!r}, not an int above 0.')
        if optimizer_state not in OPTIMIZER_STATES:
            raise ValueError(
                f'optimizer_state is {optimizer_state!r}; there are '
                f'{OPTIMIZER_STATES}.'
            )
        self.search = dict(search or {})
        unknown = set(self.search) - {
            'max_epochs',
            'max_iters',
            'param_scheduler',
        }
        if unknown:
            raise KeyError(
                f'search has unknown keys {sorted(unknown)}; it takes '
                'max_epochs or max_iters, and param_scheduler.'
            )
        self.interval = interval
        self.optimizer_state = optimizer_state
        self.recalibrate = recalibrate
        self.verify = verify
        self.export = export
        self.state = 'search'
        self.metrics: dict[str, float] = {}
        self.keep: Optional[Tensor] = None
        self._due = False
        self._rng: Optional[dict] = None
        self.pruner: Pruner

    # ------------------------------------------------------------------ start
    def before_run(self, runner: Runner) -> None:
        """Make room for the search in front of the base config's training."""
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            return  # testing
        if not isinstance(
            wrapper, (PruningOptimWrapper, PruningAmpOptimWrapper)
        ):
            raise TypeError(
                f'PruningHook found a {type(wrapper).__name__}. Set '
                "optim_wrapper.type to 'mmdhp.PruningOptimWrapper' and "
                "optim_wrapper.constructor to "
                "'mmdhp.PruningOptimWrapperConstructor'."
            )
        self.pruner = wrapper.pruner
        self._build_fine_tune = wrapper.build_fine_tune
        self._fine_tune_length = loop_length(runner)
        self._search_length = self._parse_search_length(runner)
        self._schedulers = runner.cfg.get('param_scheduler')
        if self._schedulers is None and runner.param_schedulers:
            raise ValueError(
                'PruningHook needs the fine-tune schedulers as a config: '
                'build the Runner with Runner.from_cfg(cfg), or pass `cfg` '
                'with its `param_scheduler`.'
            )
        for group in wrapper.optimizer.param_groups:
            group['lr'] = group.pop('initial_lr', group['lr'])
        start_schedulers(
            runner, self.search.get('param_scheduler'), self._search_length
        )
        set_loop_length(runner, self._search_length + self._fine_tune_length)

    def _parse_search_length(self, runner: Runner) -> int:
        right, wrong = ('max_epochs', 'max_iters')
        if not by_epoch(runner):
            right, wrong = wrong, right
        if wrong in self.search:
            raise ValueError(
                f'search has {wrong}, but {type(runner.train_loop).__name__} '
                f'counts in {right}; give search=dict({right}=...).'
            )
        length = self.search.get(right, max(self._fine_tune_length // 5, 1))
        if not isinstance(length, int) or length < 1:
            raise ValueError(f'search {right} is {length!r}, not above 0.')
        return length

    def before_train(self, runner: Runner) -> None:
        """Write the first generated weights, or continue where it stopped."""
        if self._rng is not None and dist.is_main_process():
            set_rng_state(self._rng)
        self._rng = None
        if self.state != 'search':
            return
        for parameter in self.pruner.program.parameters():
            dist.broadcast(parameter.data)
        wrapper = runner.optim_wrapper
        steps = self._search_length
        if by_epoch(runner):
            steps *= len(runner.train_dataloader)
        steps //= wrapper._accumulative_counts
        self.pruner.plan(steps, wrapper.search_lr)
        self.pruner.push()
        self._announce(runner)

    def _announce(self, runner: Runner) -> None:
        graph, target = self.pruner.graph, self.pruner.target
        print_log(
            f'{self.pruner.name}: {graph}. Target: {target.ratio:.2%} of the '
            f'{target.quantity}, after at most {self._search_length} '
            f'{"epochs" if by_epoch(runner) else "iterations"} of search, '
            f'then {self._fine_tune_length} of fine-tuning.',
            logger='current',
        )
        if graph.unused:
            print_log(
                'Not reached by the traced forward pass, so left at full '
                f'width: {", ".join(graph.unused[:8])}.',
                logger='current',
                level=30,
            )

    # ----------------------------------------------------------------- search
    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Look at the search now and then; decide when it is over."""
        if self.state != 'search' or self._due:
            return
        last = not by_epoch(runner) and runner.iter + 1 >= self._search_length
        if last or self.every_n_train_iters(runner, self.interval):
            self._look(runner, last)

    def after_train_epoch(self, runner: Runner) -> None:
        """The search ends with the epoch in which it is over."""
        if self.state == 'search' and not self._due:
            if runner.epoch + 1 >= self._search_length:
                self._look(runner, last=True)

    def _look(self, runner: Runner, last: bool) -> None:
        progress = self.pruner.progress()
        for key in ('macs', 'params'):
            value = getattr(progress, key)
            runner.message_hub.update_scalar(f'train/{key}_ratio', value)
        print_log(
            f'Search at iteration {runner.iter + 1}: {progress.macs:.2%} of '
            f'the MACs and {progress.params:.2%} of the parameters are left '
            f'(target: {self.pruner.target.ratio:.2%} of the '
            f'{self.pruner.target.quantity}).',
            logger='current',
        )
        if last and not progress.reached:
            print_log(
                'The search ends by its length, not by its own threshold; '
                'the channels with the lowest scores go. A longer search or '
                'a stronger regularization would separate them better.',
                logger='current',
                level=30,
            )
        self._due = last or progress.reached

    # ------------------------------------------------------------- transition
    def before_train_epoch(self, runner: Runner) -> None:
        """Transition between two epochs."""
        if by_epoch(runner) and self.state == 'search' and self._due:
            self._transition(runner)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Transition between two iterations."""
        if not by_epoch(runner) and self.state == 'search' and self._due:
            self._transition(runner)

    def _transition(self, runner: Runner) -> None:
        keep = self.pruner.select()
        check_ranks_agree(keep)
        difference = None
        if self.verify:
            difference = check_exact(
                unwrapped(runner),
                self.pruner.graph,
                keep,
                self.pruner.input_shape,
            )
        position = runner.epoch if by_epoch(runner) else runner.iter
        self._restructure(runner, keep, position)
        runner.optim_wrapper.initialize_count_status(
            runner.model, runner.iter, runner.train_loop.max_iters
        )
        recalibrate(runner, self.recalibrate)
        self._report(difference)
        self._save(runner)
        runner.model.train()

    def _restructure(self, runner: Runner, keep: Tensor, start: int) -> None:
        """Small model, its optimizer, schedulers and length, in place."""
        cut(
            runner,
            self.pruner.graph,
            keep,
            self._build_fine_tune,
            self.optimizer_state == 'sliced',
        )
        self.keep, self.state, self._start = keep, 'fine_tune', start
        runner.param_schedulers = []
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        start_schedulers(runner, self._schedulers, self._fine_tune_length)
        set_loop_length(runner, start + self._fine_tune_length)

    def _report(self, difference: Optional[float]) -> None:
        proof = ''
        if difference is not None:
            proof = f' Masked against shrunk output: {difference:.1e}.'
        print_log(
            'Transition to fine-tuning.\n'
            f'{group_table(self.pruner.graph, self.keep, self.pruner.kinds)}'
            f'{proof}',
            logger='current',
        )

    def _save(self, runner: Runner) -> None:
        name = f'pruned_start_iter_{runner.iter}.pth'
        meta = {'epoch': runner.epoch, 'iter': runner.iter}
        runner.save_checkpoint(
            runner.work_dir, name, meta=meta, by_epoch=by_epoch(runner)
        )
        if dist.is_main_process():
            marker = osp.join(runner.work_dir, 'last_checkpoint')
            with open(marker, 'w') as file:
                file.write(osp.join(runner.work_dir, name))

    # ------------------------------------------------------------ checkpoints
    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the run's record."""
        record: dict[str, Any] = {
            'format_version': FORMAT_VERSION,
            'state': self.state,
            'method': self.pruner.name,
            'groups': [(g.name, g.size) for g in self.pruner.graph.groups],
            'rng': rng_state(),
        }
        if self.state == 'search':
            record['search'] = self.pruner.state_dict()
            record['due'] = self._due
        else:
            record['keep'] = self.keep
            record['start'] = self._start
        checkpoint[KEY] = record

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Structure first; the Runner then loads weights and optimizer."""
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            if KEY in checkpoint:  # testing a checkpoint of any state
                shapes = state_shapes(checkpoint['state_dict'])
                resize(unwrapped(runner), shapes)
                reset_hooks(runner)
            return
        if not runner._resume:
            self._check_pretrained(runner, checkpoint)
            return
        record = read_record(checkpoint)
        self._rng = record['rng']
        if record['state'] == 'search':
            self.pruner.load_state_dict(record['search'])
            self._due = record['due']
            return
        keep = check_groups(record, self.pruner.graph)
        self._restructure(runner, keep, record['start'])

    def _check_pretrained(self, runner: Runner, checkpoint: dict) -> None:
        if checkpoint.get(KEY, {}).get('state') == 'fine_tune':
            raise ValueError(
                '`load_from` names the checkpoint of a model that is pruned '
                'already. Continue its run with --resume, or train it as '
                "model=dict(type='mmdhp.Pruned', architecture=...)."
            )
        print_log(
            f'{self.pruner.name} generates conv weights: those of '
            '`load_from` are replaced; norms, biases and the classifier are '
            'used.',
            logger='current',
            level=30,
        )

    # -------------------------------------------------------------------- end
    def after_val_epoch(
        self, runner: Runner, metrics: Optional[dict[str, float]] = None
    ) -> None:
        """Remember the last metrics for the exported files."""
        self.metrics = dict(metrics or {})

    def after_train(self, runner: Runner) -> None:
        """Export."""
        if not self.export or self.keep is None:
            return
        if dist.is_main_process():
            folder = export(runner, self.pruner, self.keep, self.metrics)
            print_log(f'Pruned model: {folder}', logger='current')
        dist.barrier()
