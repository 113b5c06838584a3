"""What every pruning method answers to the engine."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Callable, ClassVar, Optional, Union

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmdhp.costs import LatencyOptions
from mmdhp.graph import ChannelGraph, GraphError, trace
from mmdhp.graph.cost import KINDS
from mmdhp.surgery import baseline_of

from .distribution import Distribution
from .goal import Budgeted, Goal, Progress, Target
from .limits import Limits
from .options import check_int, check_name_lists, check_names, check_shape
from .selection import narrowest, select


class Pruner(Budgeted, ABC):
    """A pruning method: search variables beside an untouched model.

    The engine calls, in this order: :meth:`attach`, :meth:`watch`,
    :meth:`enter` and :meth:`plan` once; per training step :meth:`set_mode`,
    then :meth:`pull` before and :meth:`after_step` behind the optimizer;
    :meth:`progress` now and then, :meth:`preview` before a validation;
    :meth:`select` and :meth:`leave` at the end. What a method does not need,
    it leaves as it is here.

    Attributes:
        keeps_weights (bool): Whether the method prunes the weights that were
            loaded, so that there must be some. Otherwise it makes new ones.
        draws_weights (bool): Whether the network behind the cut starts from
            new weights, so that nothing of the search fits them.
        trains_model (bool): Whether the search trains the model's own
            parameters, too. Otherwise the optimizer has the search variables
            only, every process runs the model without DDP around it, and
            :meth:`pull` averages what it needs over the processes.
        search_fraction (float): Default length of the search, as a fraction
            of the fine-tuning; with 0 there is no search, and the method
            selects from the gradients of :attr:`batches` batches at once.
        search_optimizer (dict | None): Default optimizer of the search, as in
            an MM config; None for the config's own.
        fills_budget (bool): Whether the target is met to within the cheapest
            unit, at the price of one threshold for all. Otherwise to within
            the unit at the threshold.
        batches (int): Training batches of which a method without a search
            sees the gradients.
        loss_scale (float): Factor that gradients carry when they are pulled,
            and with which :meth:`pull` leaves those of the variables.

    Args:
        target (dict): What is left of ``macs``, ``params``, ``memory`` (peak
            of activations) or ``latency`` (on this machine), e.g.
            ``dict(macs=0.4)``; of several, all are met. Of a widened model
            (``mmdhp.Widened``), it is a fraction of what it was before: the
            baseline.
        input_shape (Sequence[int]): Shape of one input without the batch
            axis, e.g. ``(3, 24, 24)``; MACs are counted at it.
        min_channels (int | float): Channels that every group keeps, as a
            number or as a fraction of the group. Defaults to 4.
        floors (Mapping[str, int | float]): Name pattern → what replaces
            ``min_channels`` for groups and modules of such names; later
            patterns win. Defaults to None.
        max_ratio (float | Mapping[str, float]): Largest fraction of a group
            that may go, in (0, 1], or name pattern → fraction; later patterns
            win. The stricter of floor and ratio counts. Defaults to 1.0.
        divisor (int): Kept channels of every group are a multiple of it, or
            all; floors are rounded up. Defaults to 1.
        exclude (Sequence[str]): Name patterns of modules whose output
            channels stay. Defaults to ().
        groups (Sequence[Sequence[str]]): Lists of name patterns of what
            belongs together, see :func:`mmdhp.trace`. Defaults to ().
        safe_norms (Sequence[str]): Name patterns of norms over channels, such
            as layer norms, that may lose channels although their statistics
            change. Defaults to ().
        kinds (Sequence[str]): What counts as MACs: ``'weight'`` (conv and
            linear), ``'norm'``, ``'act'``. Defaults to ``('weight', )``.
        latency (dict, optional): How latency is measured, see
            :class:`mmdhp.costs.LatencyOptions`.
    """

    def __init__(
        self,
        target: dict,
        input_shape: Sequence[int],
        *,
        min_channels: Union[int, float] = 4,
        floors: Optional[Mapping[str, Union[int, float]]] = None,
        max_ratio: Union[float, Mapping[str, float]] = 1.0,
        divisor: int = 1,
        exclude: Sequence[str] = (),
        groups: Sequence[Sequence[str]] = (),
        safe_norms: Sequence[str] = (),
        kinds: Sequence[str] = ('weight',),
        latency: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.target = Target.parse(target)
        self.input_shape = check_shape('input_shape', input_shape)
        self.latency = LatencyOptions.parse(latency)
        self.limits = Limits(
            min_channels, {} if floors is None else floors, max_ratio
        )
        check_int('divisor', divisor, 1)
        self.divisor = divisor
        self.exclude = check_names('exclude', exclude)
        self.groups = check_name_lists('groups', groups)
        self.safe_norms = check_names('safe_norms', safe_norms)
        self.kinds = check_names('kinds', kinds, KINDS)
        self.floors: Tensor
        self.meter = None
        self.program: nn.Module

    keeps_weights: bool = False
    draws_weights: bool = False
    trains_model: ClassVar[bool] = True
    search_fraction: ClassVar[float] = 0.2
    search_optimizer: ClassVar[Optional[dict]] = None
    fills_budget: ClassVar[bool] = False
    batches: int = 0
    loss_scale: float = 1.0

    @property
    def name(self) -> str:
        """Name of the method, as in configs and exported files."""
        return type(self).__name__

    def attach(
        self,
        model: nn.Module,
        forward: Optional[Callable[[nn.Module, Any], Any]] = None,
    ) -> None:
        """Trace a model, check that the target is reachable, get ready.

        The model's weights are not written before :meth:`push`.

        Args:
            model (nn.Module): The model to prune.
            forward (Callable, optional): As for :func:`mmdhp.trace`.

        Raises:
            GraphError: If the model does not run at ``input_shape``, nothing
                in it can be pruned, the floors make the target unreachable,
                or its latency cannot be measured in time.
            ValueError: If values of ``min_channels``, ``floors`` or
                ``max_ratio`` are out of range, or the model was widened at
                another ``input_shape``.
            KeyError: If a name pattern matches nothing.
        """
        self.graph = self._trace(model, forward, self.exclude)
        spared = self.spared_groups(model)
        blind = [g for g in self.blind_groups(model) if g not in spared]
        if blind:
            warnings.warn(
                f'{self.name} learns nothing about {", ".join(blind[:5])}: '
                'they keep their width.',
                stacklevel=2,
            )
        if spared or blind:
            exclude = (*self.exclude, *spared, *blind)
            self.graph = self._trace(model, forward, exclude)
        if not self.graph.groups:
            reasons = {f'{g.name}: {g.reason}' for g in self.graph.frozen}
            raise GraphError(
                f'Nothing in {type(model).__name__} can be pruned. Reasons:\n'
                + '\n'.join(sorted(reasons)[:10])
            )
        self.baseline = self._baseline(model)
        self.floors = self.resolve_floors(model)
        costs = self.build_costs(model, forward)
        self.goal = Goal(self.target, costs.values())
        self._check_reachable(model)
        self.program = self.build_program(model)

    def _trace(
        self,
        model: nn.Module,
        forward: Optional[Callable[[nn.Module, Any], Any]],
        exclude: Sequence[str],
    ) -> ChannelGraph:
        device = next(model.parameters()).device
        return trace(
            model,
            torch.zeros(2, *self.input_shape, device=device),
            forward=forward,
            exclude=exclude,
            groups=self.groups,
            safe_norms=self.safe_norms,
        )

    def _baseline(self, model: nn.Module) -> ChannelGraph:
        """Graph of the model before it was widened, or as it is."""
        known = baseline_of(model)
        if known is None:
            return self.graph
        if known.input_shape and known.input_shape != self.input_shape:
            raise ValueError(
                f'{self.name} counts MACs at input_shape={self.input_shape}, '
                f'but mmdhp.Widened those of the baseline at '
                f'{known.input_shape}. Give both the same.'
            )
        return known.graph

    def resolve_floors(self, model: nn.Module) -> Tensor:
        """Units that every group keeps at least, shape ``(groups, )``."""
        return self.limits.resolve(model, self.graph)

    def _check_reachable(self, model: nn.Module) -> None:
        least = narrowest(self.graph, self.floors, self.divisor)
        try:
            self.goal.check_reachable(least)
        except GraphError as error:
            options = self.limits.deciding(model, self.graph)
            if self.divisor > 1:
                options.append(f'divisor={self.divisor}')
            if self.exclude:
                options.append(f'exclude={list(self.exclude)}')
            hint = f' They come from {", ".join(options)}.' if options else ''
            raise GraphError(f'{error}{hint}') from None

    def spared_groups(self, model: nn.Module) -> list[str]:
        """Names of groups that this method leaves alone on purpose."""
        return []

    def blind_groups(self, model: nn.Module) -> list[str]:
        """Names of groups that no search variable of this method reaches."""
        return []

    @abstractmethod
    def build_program(self, model: nn.Module) -> nn.Module:
        """Create the search variables; its parameters are optimised."""

    def variable_groups(self, lr: float) -> list[dict[str, Any]]:
        """The search variables as parameter groups of an optimizer.

        Args:
            lr (float): Learning rate of the optimizer, which groups may
                change by ``'lr'``. That of the last one is passed on to
                :meth:`plan` and :meth:`after_step`.
        """
        return [{'params': list(self.program.parameters())}]

    @abstractmethod
    def scores(self) -> Tensor:
        """Importance of every unit, shape ``(U, )``; larger is kept."""

    def watch(self, optimizer: Optimizer) -> None:
        """Get to know the optimizer of the search, before it starts.

        Args:
            optimizer (Optimizer): Its last parameter group holds the search
                variables.
        """

    def enter(self, model: nn.Module) -> None:
        """Prepare the model for the search, in place.

        Called whenever a search starts or is resumed, with weights loaded.
        """

    def leave(self, model: nn.Module) -> None:
        """Undo :meth:`enter`: the search is over, the cut comes next."""

    def preview(self) -> None:
        """Let a validation in the search see what it should measure."""

    def set_mode(self, model: nn.Module) -> None:
        """Choose train or eval mode, called before every search iteration."""

    def push(self) -> None:
        """Write the model's weights from the search variables."""

    def pull(self) -> None:
        """Gradients of the model's weights → those of the variables."""

    def after_cut(self, model: nn.Module, keep: Tensor) -> None:
        """Act on the model that has just been cut, before it is trained.

        Every process, and every run that is resumed behind the cut, does so
        with the same mask: what is drawn must depend on nothing else.

        Args:
            model (nn.Module): The pruned model.
            keep (Tensor): bool mask, shape ``(U, )``.
        """

    def after_step(self, lr: float) -> None:
        """Act after an optimizer step that really happened.

        Args:
            lr (float): Current learning rate of the search variables.
        """

    def vitals(self) -> dict[str, Tensor]:
        """What must stay finite, causes first, ``(U, )`` each, by name."""
        return {}

    def plan(self, steps: int, lr: float) -> None:
        """Learn what the search has left, at its start and now and then.

        Args:
            steps (int): Optimizer steps that are left, at most.
            lr (float): Mean learning rate of the search variables over them.
        """

    def progress(self) -> Progress:
        """Where the search stands by the method's own threshold."""
        return self.standing(self.select(), reached=None)

    def statistics(self) -> dict[str, float]:
        """What else to log about the search, by name."""
        return {}

    def distribution(self) -> Distribution:
        """What histograms show of the search."""
        return Distribution('score', self.scores())

    def select(self) -> Tensor:
        """The keep mask that meets the target exactly, shape ``(U, )``."""
        return self._select(self.scores())

    def widths(self, keep: Tensor) -> dict[str, tuple[int, int]]:
        """Units of every group that are left and that the baseline has."""
        base = {group.name: group.size for group in self.baseline.groups}
        return {
            name: (kept, base.get(name, total))
            for name, (kept, total) in self.graph.widths(keep).items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed search needs; tensors and plain values."""
        state = {'method': self.name, 'program': self.program.state_dict()}
        costs = self.goal.state_dict()
        return {**state, 'costs': costs} if costs else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`.

        Raises:
            ValueError: If the state is of another method or architecture.
        """
        if state.get('method') != self.name:
            raise ValueError(
                f'The checkpoint was written by {state.get("method")!r}, but '
                f'the config names {self.name!r}; resume with the method that '
                'started the run.'
            )
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(
                f'The search state lacks {", ".join(missing)}: it is damaged, '
                f'or of another version of {self.name}. Resume from another '
                'checkpoint, or start the search again.'
            )
        own = {k: v.shape for k, v in self.program.state_dict().items()}
        found = {k: v.shape for k, v in state['program'].items()}
        if own != found:
            wrong = sorted(
                k for k in {*own, *found} if own.get(k) != found.get(k)
            )
            raise ValueError(
                f'The search state does not fit this model: {wrong[:5]} '
                'differ. Resume with the config that started the run.'
            )
        self.program.load_state_dict(state['program'])
        self.goal.load_state_dict(state.get('costs', {}))

    def _select(self, scores: Tensor) -> Tensor:
        goal = self.goal
        cost, budget, full, rises = goal.load, 1.0, None, None
        if goal.single:
            cost, full = goal.first.value, goal.first.full
            budget = self.target.ratio * full
            rises = goal.first.rises
        return select(
            scores,
            self.graph,
            cost,
            budget,
            self.floors,
            self.divisor,
            fill=self.fills_budget,
            full=full,
            rises=rises,
        )
