"""One step of a controller: draw gates, and bring their gradients back."""

from typing import Optional

import torch
from torch import Tensor
from torch.optim import Optimizer

from .controller import Controller, Draw, binarise
from .layerwise_scaling import LayerwiseScaling


class ControllerStep:
    """Takes a controller from one draw to the next.

    Args:
        controller (Controller): What is trained.
        scaling (LayerwiseScaling): Of its heads' gradients.
        noise (str): ``'gumbel'`` or ``'logistic'``.
        temperature (float): τ of the draw's slope.
        offset (float): c, which is added to the logits.

    Attributes:
        logits (Tensor | None): Of the next update, shape ``(U, )``, with
            their autograd graph; None between update and draw.
        by_loss (Tensor | None): ``∂L/∂v`` of the last update, ``(U, )``.
    """

    def __init__(
        self,
        controller: Controller,
        scaling: LayerwiseScaling,
        noise: str,
        temperature: float,
        offset: float,
    ) -> None:
        self.controller = controller
        self.scaling = scaling
        self.noise = noise
        self.temperature = temperature
        self.offset = offset
        self.logits: Optional[Tensor] = None
        self.by_loss: Optional[Tensor] = None
        self._draw: Optional[Draw] = None
        self._optimizer: Optional[Optimizer] = None
        self._task: list[Tensor] = []

    @property
    def gates(self) -> Tensor:
        """V of the last draw, shape ``(U, )``.

        Raises:
            RuntimeError: If nothing has been drawn.
        """
        return self._drawn().gates

    def _drawn(self) -> Draw:
        if self._draw is None:
            raise RuntimeError('pull() before push(): no gates are drawn.')
        return self._draw

    def watch(self, optimizer: Optimizer) -> None:
        """Remember the optimizer, whose step α differentiates."""
        self.scaling.check(optimizer)
        self._optimizer = optimizer

    def draw(self) -> Tensor:
        """Draw gates, shape ``(U, )``."""
        with torch.enable_grad():
            self.logits = self.controller()
        self._draw = binarise(
            self.logits.detach(),
            self.controller.noise(self.noise),
            self.controller.group_of_unit,
            self.temperature,
            self.offset,
        )
        return self._draw.gates

    def pull(self, by_loss: Tensor, by_cost: Tensor, scale: float) -> None:
        """Gradients of the gates → of the controller, in place.

        Each of the two goes through the controller alone, since they meet
        with different scales.

        Args:
            by_loss (Tensor): ``∂L/∂v``, shape ``(U, )``.
            by_cost (Tensor): ``λ · ∂R/∂v``, shape ``(U, )``.
            scale (float): By which the controller's gradients are multiplied.
        """
        slope = self._drawn().slope
        self.by_loss = by_loss
        task, cost = self._through(by_loss * slope, by_cost * slope)
        heads = self.controller.head_parameters
        self._task = [task[id(head)] for head in heads]
        costs = [cost[id(head)] for head in heads]
        totals = [gl + gr for gl, gr in zip(self._task, costs)]
        self.scaling.update(totals)
        scaled = dict(
            zip(map(id, heads), self.scaling.combine(self._task, costs))
        )
        for parameter in self.controller.parameters():
            key = id(parameter)
            grad = scaled.get(key, task[key] + cost[key])
            parameter.grad = grad * scale
        if self._optimizer is not None:
            kind = type(self._optimizer).__name__
            self.scaling.before_step(heads, kind)

    def _through(self, *by_logits: Tensor) -> list[dict[int, Tensor]]:
        """Gradients of the controller's parameters, by their id.

        Args:
            *by_logits (Tensor): Gradients of the logits, ``(U, )`` each.
        """
        logits, self.logits = self.logits, None
        if logits is None:  # a gradient scaler has skipped the last step
            with torch.enable_grad():
                logits = self.controller()
        parameters = list(self.controller.parameters())
        found = []
        for grad in by_logits:
            grads = torch.autograd.grad(
                logits, parameters, grad, retain_graph=True
            )
            found.append(dict(zip(map(id, parameters), grads)))
        return found

    def after_step(self) -> None:
        """Remember how the step depends on α, and go on to the next draw."""
        if self._optimizer is not None:
            self.scaling.after_step(
                self.controller.head_parameters, self._task, self._optimizer
            )
        self.controller.step += 1
