"""HSN: a hyper-structure network emits 0/1 gates for a pretrained network.

Source: Model Compression via Hyper-Structure Network, ICLR 2021 submission
(OpenReview Oc-Aedbjq0).
"""

from collections.abc import Callable
from typing import Any, Optional, Union

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmdhp.costs import Cost, MACs
from mmdhp.graph import Forward, call_model
from mmdhp.programs import (
    GENERATORS,
    INPUTS,
    NOISES,
    SCALING_RULES,
    Controller,
    ControllerStep,
    Freezer,
    Gates,
    LayerwiseScaling,
    escaping_groups,
    even_odds,
    inner_groups,
    keep_probability,
    log_penalty,
    ungated_macs,
)
from mmdhp.registry import PRUNERS

from .base import Progress, Pruner
from .distribution import Distribution
from .options import check_bounds, check_choices, check_number
from .selection import check_finite, threshold_mask

CHOICES = {
    'scope': ('all', 'gated'),
    'gates': ('all', 'inner'),
    'generator': GENERATORS,
    'inputs': INPUTS,
    'noise': NOISES,
    'scaling': SCALING_RULES,
    'decision': ('median', 'sample'),
    'norms': ('eval', 'batch'),
}
_UNDECIDED = (0.05, 0.95)  # probabilities of keeping in between


@PRUNERS.register_module()
class HSN(Pruner):
    """Search gates of a frozen, pretrained network with a controller.

    Every step draws a 0/1 gate v per channel unit from the controller's
    logits. Only the controller is trained, on the task's loss +
    ``λ · R(v)``, with ``R = log(|t(v) - p| / ε + 1)``, t the share of MACs
    (or whatever the target is about) that v leaves and p the target. Of
    several quantities, R is about the one with the largest ``t / p``. The
    weights of the kept channels are the pretrained ones.

    The final mask keeps the units of the largest logits such that the target
    is met exactly; the paper's takes one draw (or the even odds) as it comes
    and misses the target by a few per cent.

    Args:
        target (dict): See :class:`Pruner`; its ratio is the paper's p.
        input_shape (Sequence[int]): See :class:`Pruner`.
        regularization (float): λ; 4 for CIFAR, 8 for ImageNet in the paper.
            Defaults to 4.0.
        epsilon (float | str): ε, in shares of the total; ``'raw'`` is one
            MAC (parameter, byte), the formula taken literally. Defaults to
            1.0.
        scope (str): What the target is a share of: ``'all'`` or the layers
            that touch a ``'gated'`` channel, as in the paper's experiments.
            Defaults to ``'all'``.
        gates (str): ``'all'`` prunable groups, or only those ``'inner'`` to a
            block, as in the paper. Defaults to ``'all'``.
        generator (str): ``'hsn'``, or the baselines ``'dense'`` and
            ``'gates'``. Defaults to ``'hsn'``.
        inputs (str): The controller's: ``'fixed'``, ``'learned'``,
            ``'random'``. Defaults to ``'fixed'``.
        noise (str): ``'gumbel'`` (one, as in the paper) or ``'logistic'``.
            Defaults to ``'gumbel'``.
        temperature (float): τ. Defaults to 0.4.
        offset (float): c; 3 starts from the full network. Defaults to 0.0.
        scaling (str): Rule of the layer-wise scales α: ``'adam'``,
            ``'normalised'``, ``'paper'`` (moves them by 1e-3 at most) or
            ``'off'``. Defaults to ``'adam'``.
        scaling_lr (float): β. Defaults to 0.01.
        scaling_bounds (tuple[float, float], optional): Smallest and largest
            α. Defaults to (0.1, 10).
        decision (str): Whose ranking and threshold decide at the end:
            ``'median'``, the gates that most draws keep, or a ``'sample'``.
            Defaults to ``'median'``.
        norms (str): BatchNorms of the search use their statistics,
            ``'eval'``, or the batch's, ``'batch'``. Running statistics stay
            as they are. Defaults to ``'eval'``.
        **kwargs: See :class:`Pruner`.
    """

    keeps_weights = True
    trains_model = False
    search_optimizer = {'type': 'Adam', 'lr': 1e-3, 'weight_decay': 0.0}

    def __init__(
        self,
        target: dict,
        input_shape: tuple,
        *,
        regularization: float = 4.0,
        epsilon: Union[float, str] = 1.0,
        scope: str = 'all',
        gates: str = 'all',
        generator: str = 'hsn',
        inputs: str = 'fixed',
        noise: str = 'gumbel',
        temperature: float = 0.4,
        offset: float = 0.0,
        scaling: str = 'adam',
        scaling_lr: float = 0.01,
        scaling_bounds: Optional[tuple[float, float]] = (0.1, 10.0),
        decision: str = 'median',
        norms: str = 'eval',
        **kwargs: Any,
    ) -> None:
        super().__init__(target, input_shape, **kwargs)
        self.regularization = regularization
        self.epsilon = epsilon
        self.scope = scope
        self.gates = gates
        self.generator = generator
        self.inputs = inputs
        self.noise = noise
        self.temperature = temperature
        self.offset = offset
        self.scaling = scaling
        self.scaling_lr = scaling_lr
        self.scaling_bounds = scaling_bounds
        self.decision = decision
        self.norms = norms
        self._check()

    program: Controller

    def attach(
        self,
        model: nn.Module,
        forward: Optional[Callable[[nn.Module, Any], Any]] = None,
    ) -> None:
        """See :meth:`Pruner.attach`."""
        self._forward = forward
        super().attach(model, forward)

    def _check(self) -> None:
        check_choices({key: getattr(self, key) for key in CHOICES}, CHOICES)
        check_number('regularization', self.regularization, 0)
        check_number('scaling_lr', self.scaling_lr, 0)
        check_number('temperature', self.temperature, 1e-6)
        check_number('offset', self.offset)
        if self.epsilon != 'raw':
            check_number('epsilon', self.epsilon, 1e-300)
        if self.scaling_bounds is not None:
            check_bounds('scaling_bounds', self.scaling_bounds, 1.0)
        if self.epsilon == 'raw' and 'latency' in self.target.quantities:
            raise ValueError(
                f"epsilon is 'raw', one unit of the cost, but the target is "
                f'{self.target}, and latency has no smallest unit. Give a '
                'share such as epsilon=1.0.'
            )
        if self.scope == 'gated' and self.target.quantities != ('macs',):
            raise ValueError(
                f"scope is 'gated' and the target {self.target}, but the MACs "
                "of gated layers are meant; use dict(macs=...) or scope='all'."
            )

    def spared_groups(self, model: nn.Module) -> list[str]:
        """Groups outside of blocks, if only inner ones are gated."""
        if self.gates == 'all':
            return []
        inner = set(inner_groups(model, self.graph))
        return [g.name for g in self.graph.groups if g.name not in inner]

    def blind_groups(self, model: nn.Module) -> list[str]:
        """Groups that gates cannot stand for."""
        device = next(model.parameters()).device
        inputs = torch.zeros(2, *self.input_shape, device=device)
        return escaping_groups(
            model,
            self.graph,
            lambda: call_model(model, inputs, self._forward),
        )

    def build_costs(
        self, model: nn.Module, forward: Optional[Forward]
    ) -> dict[str, Cost]:
        """See :meth:`Pruner.build_costs`; MACs within :attr:`scope`."""
        costs = super().build_costs(model, forward)
        if self.scope == 'gated':
            own, kinds = (self.graph, self.baseline), self.kinds
            spared = [ungated_macs(graph, kinds) for graph in own]
            costs['macs'] = MACs(*own, kinds, (spared[0], spared[1]))
        return costs

    def build_program(self, model: nn.Module) -> Controller:
        """The controller, and gates that are not yet in the model."""
        program = Controller(
            [group.size for group in self.graph.groups],
            self.generator,
            self.inputs,
        ).to(next(model.parameters()).device)
        self._gates = Gates(model, self.graph)
        self._scaling = LayerwiseScaling(
            program.group_of_unit,
            self.scaling,
            self.scaling_lr,
            self.scaling_bounds,
        )
        self._step = ControllerStep(
            program, self._scaling, self.noise, self.temperature, self.offset
        )
        self._freezer = Freezer(self.norms)
        self._last: dict[str, float] = {}
        return program

    def watch(self, optimizer: Optimizer) -> None:
        """Remember the optimizer, whose step α differentiates."""
        self._step.watch(optimizer)

    # ------------------------------------------------------------- the model
    def enter(self, model: nn.Module) -> None:
        """Freeze the model and put the gates into it, in place."""
        self._gates.install()
        self._freezer.freeze(model)

    def leave(self, model: nn.Module) -> None:
        """Undo :meth:`enter`, in place."""
        self._gates.remove()
        self._freezer.restore()

    def set_mode(self, model: nn.Module) -> None:
        """Evaluation mode; see :attr:`norms`."""
        self._freezer.set_mode(model)

    def vitals(self) -> dict[str, Tensor]:
        """The next logits and, before them, the gradients of the gates."""
        found = {'gradients': self._step.by_loss, 'logits': self._step.logits}
        return {
            f'{name} of the gates': values.detach()
            for name, values in found.items()
            if values is not None
        }

    def preview(self) -> None:
        """Let validation see the mask that would be selected now."""
        self._gates.show(self.select())

    # ---------------------------------------------------------------- a step
    def push(self) -> None:
        """Draw the gates of the next step."""
        self._gates.write(self._step.draw())

    def pull(self) -> None:
        """Gradients of the gates → of the controller, in place.

        One pass through the network gives ``∂L/∂v``; the cost's ``∂R/∂v`` is
        known in closed form.
        """
        by_cost = self.cost_gradient(self._step.gates)
        by_loss = self._gates.collect() / self.loss_scale
        self._step.pull(by_loss, by_cost, self.loss_scale)

    def cost_gradient(self, gates: Tensor) -> Tensor:
        """``λ · ∂R/∂v``, zero where the target is met exactly.

        Args:
            gates (Tensor): v, shape ``(U, )``.

        Returns:
            Tensor: Same shape, dtype and device.
        """
        soft = gates.detach().double().cpu().requires_grad_()
        goal = self.goal
        with torch.enable_grad():
            shares = {
                key: cost.soft(soft) / cost.full
                for key, cost in goal.costs.items()
            }
        quantity, target = max(
            self.target.ratios,
            key=lambda pair: shares[pair[0]].item() / pair[1],
        )
        (slope,) = torch.autograd.grad(shares[quantity], soft)
        ratio, full = shares[quantity].item(), goal.costs[quantity].full
        raw = self.epsilon == 'raw'
        epsilon = 1 / full if raw else float(self.epsilon)
        value, rise = log_penalty(ratio, target, epsilon)
        self._last = {'sampled_ratio': ratio, 'cost_term': value}
        if not goal.single:
            self._last |= {f'sampled_{q}': t.item() for q, t in shares.items()}
        return (self.regularization * rise * slope).to(gates)

    def after_step(self, lr: float) -> None:
        """Remember how the step depends on α, and draw the next gates."""
        self._step.after_step()
        self.push()

    # ------------------------------------------------------------- the result
    @property
    @torch.no_grad()
    def logits(self) -> Tensor:
        """``o + c`` of all units, shape ``(U, )``."""
        return self.program() + self.offset

    def scores(self) -> Tensor:
        """``o + c``, plus the noise of one draw for ``'sample'``; on CPU."""
        scores = self.logits
        if self.decision == 'sample':
            scores = scores + self.program.noise(self.noise)
        return scores.cpu()

    def distribution(self) -> Distribution:
        """Probabilities that a gate is drawn as 1."""
        probability = keep_probability(self.logits, self.noise)
        return Distribution('P(gate = 1)', probability, 0.5, (0.0, 1.0))

    def progress(self) -> Progress:
        """Ratios of the mask that the decision makes by itself."""
        scores = self.scores()
        check_finite(scores, self.graph)
        median = self.decision == 'median'
        threshold = even_odds(self.noise) if median else 0.0
        keep = threshold_mask(scores, self.graph, threshold, self.floors)
        return self.standing(keep, reached=None)

    def statistics(self) -> dict[str, float]:
        """Share of undecided gates, the last draw's ratio and R, and α.

        A gate is undecided if it is kept with a probability between 5 and
        95 %: then one draw and the most frequent gates are different
        networks.
        """
        probability = keep_probability(self.logits, self.noise)
        low, high = _UNDECIDED
        undecided = (probability > low) & (probability < high)
        alpha = self._scaling.alpha
        return {
            'undecided': float(undecided.float().mean()),
            **self._last,
            'alpha_min': float(alpha.min()),
            'alpha_max': float(alpha.max()),
        }

    def state_dict(self) -> dict[str, Any]:
        """Controller, number of the draw, and layer-wise scaling."""
        state = super().state_dict()
        return {**state, 'scaling': self._scaling.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        super().load_state_dict(state)
        self._scaling.load_state_dict(state['scaling'])
