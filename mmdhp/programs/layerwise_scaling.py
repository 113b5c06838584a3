"""Layer-wise scaling: how much a layer listens to the task's gradient.

The head of layer i is updated with ``g = α_i · gL + gR``, gL the gradient of
the task's loss and gR that of the cost; α follows the hyper-gradient
``⟨∂J/∂θ_i, ∂u/∂α_i⟩``, where u is the optimizer's last step.

Source: Model Compression via Hyper-Structure Network, §3.3 and appendix E.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

RULES = ('adam', 'normalised', 'paper', 'off')
OPTIMIZERS = ('Adam', 'AdamW', 'SGD', 'LARS')

_DECAYS = (0.9, 0.999)  # of Adam on α
_TINY, _TINIER = 1e-8, 1e-12  # h is of the order of 1e-5
_UNKNOWN = ('amsgrad', 'maximize', 'dampening')  # to the closed forms


@dataclass(frozen=True)
class StepDerivative:
    """``∂u/∂α`` of one parameter with a row per unit.

    In the rows of group i it is ``own + coupling_i · shared``; in all other
    rows ``coupling_i · shared``, since LARS divides by a norm over all rows.

    Args:
        own (Tensor): Shape ``(U, k)``.
        shared (Tensor, optional): Shape ``(U, k)``.
        coupling (Tensor, optional): Shape ``(L, )``.
    """

    own: Tensor
    shared: Optional[Tensor] = None
    coupling: Optional[Tensor] = None


def sum_in_groups(rows: Tensor, group_of_unit: Tensor) -> Tensor:
    """Sum of all numbers in the rows of every group, shape ``(L, )``."""
    total = rows.new_zeros(int(group_of_unit[-1]) + 1)
    return total.index_add(0, group_of_unit, rows.sum(1))


def adam_derivative(
    grad: Tensor, task: Tensor, state: dict[str, Any], group: dict[str, Any]
) -> Tensor:
    """``∂u/∂α`` of the step that Adam or AdamW has just made.

    With ``m̂, n̂`` the moments without bias and ``s = √n̂``::

        -η · [(1-β1)·gL / ((1-β1ᵗ)(s+ε))
              - (1-β2)·g·gL·m̂ / ((1-β2ᵗ)·s·(s+ε)²)]

    This is appendix E with g·gL not multiplied out, which would cancel.

    Args:
        grad (Tensor): g of the step, any shape.
        task (Tensor): gL, same shape.
        state (dict): The optimizer's state of the parameter, behind the step.
        group (dict): Its parameter group: ``lr``, ``betas``, ``eps``.
    """
    step = float(state['step'])
    (beta1, beta2), eps = group['betas'], group['eps']
    part1 = (1 - beta1) / (1 - beta1**step)
    part2 = (1 - beta2) / (1 - beta2**step)
    mean = state['exp_avg'] / (1 - beta1**step)
    s = (state['exp_avg_sq'] / (1 - beta2**step)).sqrt()
    first = part1 * task / (s + eps)
    second = part2 * grad * task * mean / (s * (s + eps) ** 2)
    second = torch.where(s > 0, second, torch.zeros_like(second))
    return -group['lr'] * (first - second)


def sgd_derivative(task: Tensor, group: dict[str, Any]) -> Tensor:
    """``∂u/∂α`` of a step of SGD: ``-η·gL``, with Nesterov ``-η(1+μ)·gL``.

    Args:
        task (Tensor): gL, any shape.
        group (dict): Parameter group: ``lr``, ``momentum`` (μ), ``nesterov``.
    """
    factor = 1 + group['momentum'] if group['nesterov'] else 1.0
    return -group['lr'] * factor * task


def lars_derivative(
    grad: Tensor,
    task: Tensor,
    before: Tensor,
    group: dict[str, Any],
    group_of_unit: Tensor,
) -> StepDerivative:
    """``∂u/∂α`` of a step of MMPretrain's LARS.

    The local rate ``q = κ‖θ‖/(‖g‖ + w‖θ‖ + ε)`` belongs to the tensor θ of
    all heads, so that every α moves all of them.

    Args:
        grad (Tensor): g of the step, shape ``(U, k)``.
        task (Tensor): gL, same shape.
        before (Tensor): θ before the step, same shape.
        group (dict): Parameter group, with ``eta`` (κ) and ``eps``.
        group_of_unit (Tensor): Group of every unit, shape ``(U, )``.
    """
    scale = sgd_derivative(torch.ones_like(grad[:1, :1]), group)
    length, slope = before.norm(), grad.norm()
    if group.get('lars_exclude') or not length or not slope:
        return StepDerivative(scale * task)
    decay = group['weight_decay']
    below = slope + decay * length + group['eps']
    rate = group['eta'] * length / below
    inner = sum_in_groups(grad * task, group_of_unit)
    return StepDerivative(
        scale * rate * task,
        scale * (grad + decay * before),
        -rate / below * inner / slope,
    )


class LayerwiseScaling:
    """The scales α of all groups and how they move.

    Four rules: ``'paper'`` is gradient descent as in algorithm 1. It carries
    the optimizer's learning rate η as a factor and moves α by some 1e-4 in a
    search. ``'normalised'`` divides by η, ``'adam'`` is Adam on α, and
    ``'off'`` leaves all α at 1.

    Args:
        group_of_unit (Tensor): Group of every unit, shape ``(U, )``.
        rule (str): One of the above. Defaults to ``'adam'``.
        lr (float): β, step size of α. Defaults to 0.01.
        bounds (tuple[float, float], optional): Smallest and largest α.
            Defaults to None.

    Attributes:
        alpha (Tensor): α, shape ``(L, )``.
    """

    def __init__(
        self,
        group_of_unit: Tensor,
        rule: str = 'adam',
        lr: float = 0.01,
        bounds: Optional[tuple[float, float]] = None,
    ) -> None:
        self.group_of_unit = group_of_unit
        self.rule = rule
        self.lr = lr
        self.bounds = bounds
        groups = int(group_of_unit[-1]) + 1
        device = group_of_unit.device
        self.alpha = torch.ones(groups, device=device)
        self._mean = torch.zeros(groups, device=device)
        self._square = torch.zeros(groups, device=device)
        self._updates = 0
        self._rate = 1.0  # η of the remembered step
        self._derivatives: list[StepDerivative] = []
        self._before: list[Tensor] = []

    def check(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer whose derivative is not known.

        Raises:
            ValueError: Says which are.
        """
        kind = type(optimizer).__name__
        group = optimizer.param_groups[-1]
        odd = [key for key in _UNKNOWN if group.get(key)]
        if kind == 'Adam' and group['weight_decay']:
            odd.append('weight_decay')
        if self.rule != 'off' and (kind not in OPTIMIZERS or odd):
            found = f'{kind} with {", ".join(odd)}' if odd else kind
            raise ValueError(
                f'Layer-wise scaling differentiates the optimizer of the '
                f'search, but it is {found}; it knows plain '
                f"{', '.join(OPTIMIZERS)}. Set scaling='off', or "
                "search_optimizer=dict(type='Adam', lr=1e-3)."
            )

    def update(self, totals: Sequence[Tensor]) -> None:
        """Move α by the last step's derivative, in place.

        Args:
            totals (Sequence[Tensor]): ``gL + gR`` of every head parameter
                behind that step, shape ``(U, k)`` each.
        """
        if self.rule == 'off' or not self._derivatives:
            return
        h = torch.zeros_like(self.alpha)
        for total, step in zip(totals, self._derivatives):
            h += sum_in_groups(total * step.own, self.group_of_unit)
            if step.shared is not None and step.coupling is not None:
                h += step.coupling * (total * step.shared).sum()
        if not torch.isfinite(h).all():
            return
        if self.rule == 'normalised' and self._rate:
            h = h / self._rate
        self.alpha -= self.lr * (self._adam(h) if self.rule == 'adam' else h)
        if self.bounds is not None:
            self.alpha.clamp_(*self.bounds)

    def _adam(self, h: Tensor) -> Tensor:
        self._updates += 1
        b1, b2 = _DECAYS
        self._mean.lerp_(h, 1 - b1)
        self._square.lerp_(h**2, 1 - b2)
        mean = self._mean / (1 - b1**self._updates)
        square = self._square / (1 - b2**self._updates)
        return mean / (square.sqrt() + _TINIER)

    def combine(
        self, task: Sequence[Tensor], cost: Sequence[Tensor]
    ) -> list[Tensor]:
        """``α · gL + gR`` of every head parameter (eq. 5)."""
        alpha = self.alpha[self.group_of_unit][:, None]
        return [alpha * gl + gr for gl, gr in zip(task, cost)]

    def before_step(self, heads: Sequence[nn.Parameter], kind: str) -> None:
        """Keep what the derivative needs of the parameters as they are."""
        self._before = []
        if self.rule != 'off' and kind == 'LARS':
            self._before = [head.detach().clone() for head in heads]

    def after_step(
        self,
        heads: Sequence[nn.Parameter],
        task: Sequence[Tensor],
        optimizer: Optimizer,
    ) -> None:
        """Remember ``∂u/∂α`` of the step that the optimizer has made.

        Args:
            heads (Sequence[Parameter]): With the gradients g of the step.
            task (Sequence[Tensor]): gL of each.
            optimizer (Optimizer): One of :data:`OPTIMIZERS`.
        """
        if self.rule == 'off':
            return
        group = optimizer.param_groups[-1]
        kind = type(optimizer).__name__
        self._rate = float(group['lr'])
        found = []
        for index, (head, gl) in enumerate(zip(heads, task)):
            grad = gl * 0 if head.grad is None else head.grad
            if kind == 'LARS':
                eps = getattr(optimizer, 'eps', _TINY)
                before = self._before[index]
                step = lars_derivative(
                    grad, gl, before, {**group, 'eps': eps}, self.group_of_unit
                )
            elif kind == 'SGD':
                step = StepDerivative(sgd_derivative(gl, group))
            else:
                state = optimizer.state[head]
                step = StepDerivative(adam_derivative(grad, gl, state, group))
            found.append(step)
        self._derivatives = found

    def state_dict(self) -> dict[str, Any]:
        """α, the state of its rule and the last step's derivative."""
        return {
            'alpha': self.alpha.clone(),
            'mean': self._mean.clone(),
            'square': self._square.clone(),
            'updates': self._updates,
            'rate': self._rate,
            'derivatives': [
                (step.own, step.shared, step.coupling)
                for step in self._derivatives
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.alpha.copy_(state['alpha'])
        self._mean.copy_(state['mean'])
        self._square.copy_(state['square'])
        self._updates = state['updates']
        self._rate = state['rate']
        self._derivatives = [
            StepDerivative(
                own.to(self.alpha),
                None if shared is None else shared.to(self.alpha),
                None if coupling is None else coupling.to(self.alpha),
            )
            for own, shared, coupling in state['derivatives']
        ]
