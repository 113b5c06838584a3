"""HSN's controller: a recurrent network that emits a logit per channel unit.

Source: Model Compression via Hyper-Structure Network, ICLR 2021 submission
(OpenReview Oc-Aedbjq0). Symbols are the paper's: inputs a, hidden states b,
logits o, noise g, relaxed gates z, gates v, temperature τ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

GENERATORS = ('hsn', 'dense', 'gates')
INPUTS = ('fixed', 'learned', 'random')
NOISES = ('gumbel', 'logistic')

_LOWEST, _HIGHEST = 1e-10, 1 - 1e-7  # of uniform noise: finite logarithms


class NormedWeight(nn.Module):
    """A weight with normed rows, ``g · V / ‖V‖``.

    Salimans & Kingma, Weight Normalization, NeurIPS 2016, arXiv:1602.07868.
    Only leaf tensors are stored, so that it can be copied at any time.

    Args:
        rows (int): Rows, each with a norm of its own.
        columns (int): Columns.
        bound (float): V is drawn from U(-bound, bound); g starts as ‖V‖.
    """

    def __init__(self, rows: int, columns: int, bound: float) -> None:
        super().__init__()
        direction = torch.empty(rows, columns).uniform_(-bound, bound)
        self.direction = nn.Parameter(direction)
        self.norm = nn.Parameter(direction.norm(dim=1, keepdim=True))

    def forward(self) -> Tensor:
        """The weight, shape ``(rows, columns)``."""
        length = self.direction.norm(dim=1, keepdim=True)
        return self.direction * (self.norm / length)


class Recurrence(nn.Module):
    """A unidirectional GRU of one layer with normed weights.

    Args:
        inputs (int): Size of an input.
        hidden (int): Size of the hidden state.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.hidden = hidden
        self.weight_ih = NormedWeight(3 * hidden, inputs, bound)
        self.weight_hh = NormedWeight(3 * hidden, hidden, bound)
        bias = torch.empty(2, 3 * hidden).uniform_(-bound, bound)
        self.bias_ih = nn.Parameter(bias[0].clone())
        self.bias_hh = nn.Parameter(bias[1].clone())

    def forward(self, a: Tensor) -> Tensor:
        """Hidden states behind every input.

        Args:
            a (Tensor): Sequence of inputs, shape ``(L, inputs)``.

        Returns:
            Tensor: Shape ``(L, hidden)``.
        """
        weights = [self.weight_ih(), self.weight_hh()]
        biases = [self.bias_ih, self.bias_hh]
        start = a.new_zeros(1, 1, self.hidden)
        with torch.backends.cudnn.flags(enabled=False):  # wants one buffer
            b, _ = torch.gru(
                a[:, None],
                start,
                [*weights, *biases],
                True,  # has biases
                1,  # layers
                0.0,  # dropout
                False,  # training
                False,  # bidirectional
                False,  # batch first
            )
        return b[:, 0]


class Controller(nn.Module):
    """Logits of all channel units, from one pass over their groups.

    Group i has an input ``a_i``, and a dense head without bias per unit::

        b_i = GRU(a_i, b_{i-1})        (hidden, )
        o_i = W_i · relu(b_i)          (C_i, )

    The heads of all groups are one matrix of shape ``(U, hidden)``. Two
    simpler generators serve as baselines: ``'dense'``, ``o_i = W_i · a_i``,
    and ``'gates'``, where every logit is a parameter of its own.

    Args:
        sizes (Sequence[int]): Units of every group, in execution order.
        generator (str): ``'hsn'``, ``'dense'`` or ``'gates'``. Defaults to
            ``'hsn'``.
        inputs (str): a is ``'fixed'`` as drawn from U(0, 1), ``'learned'``
            from there, or ``'random'``, drawn anew at every step. Defaults to
            ``'fixed'``.
        input_dim (int): Size of ``a_i``. Defaults to 64.
        hidden_dim (int): Size of ``b_i``. Defaults to 128.

    Attributes:
        step (Tensor): Number of the draw, a scalar.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        generator: str = 'hsn',
        inputs: str = 'fixed',
        input_dim: int = 64,
        hidden_dim: int = 128,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.inputs = inputs
        self.group_of_unit: Tensor
        self.seed: Tensor
        self.step: Tensor
        self.a: Tensor
        owners = torch.arange(len(sizes))
        owners = owners.repeat_interleave(torch.tensor(sizes))
        self.register_buffer('group_of_unit', owners, persistent=False)
        self.register_buffer('seed', torch.randint(2**31, ()))
        self.register_buffer('step', torch.zeros((), dtype=torch.long))
        if generator == 'gates':
            self.logits = nn.Parameter(torch.zeros(len(owners), 1))
            return
        a = torch.rand(len(sizes), input_dim)
        if inputs == 'learned':
            self.a = nn.Parameter(a)
        else:
            self.register_buffer('a', a)
        size = input_dim
        if generator == 'hsn':
            self.gru = Recurrence(input_dim, hidden_dim)
            size = hidden_dim
        self.heads = NormedWeight(len(owners), size, 1 / math.sqrt(size))

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters with one row per unit."""
        if self.generator == 'gates':
            return [self.logits]
        return [self.heads.norm, self.heads.direction]

    def forward(self) -> Tensor:
        """Logits o of all units, shape ``(U, )``."""
        if self.generator == 'gates':
            return self.logits[:, 0]
        b = self.a
        if self.inputs == 'random':
            b = self._uniform(1, tuple(self.a.shape))
        if self.generator == 'hsn':
            b = self.gru(b).relu()
        return (self.heads() * b[self.group_of_unit]).sum(1)

    def noise(self, kind: str) -> Tensor:
        """Noise g of the present step, shape ``(U, )``.

        It follows from a seed and the number of the step alone: the same in
        every process and behind a resume, and no draw of the data pipeline.

        Args:
            kind (str): ``'gumbel'`` or ``'logistic'``.
        """
        u = self._uniform(0, tuple(self.group_of_unit.shape))
        u = u.clamp(_LOWEST, _HIGHEST)
        if kind == 'gumbel':
            return -torch.log(-torch.log(u))
        return torch.log(u) - torch.log1p(-u)

    def _uniform(self, stream: int, shape: tuple[int, ...]) -> Tensor:
        number = 2 * int(self.step) + stream
        seed = (int(self.seed) * 1_000_003 + number * 7919) % 2**63
        generator = torch.Generator().manual_seed(seed)
        draw = torch.rand(shape, generator=generator)
        return draw.to(self.group_of_unit.device)


@dataclass(frozen=True)
class Draw:
    """Gates of one step.

    Args:
        gates (Tensor): v, exactly 0 or 1, shape ``(U, )``.
        slope (Tensor): ``∂z/∂o``, the derivative that stands in for ∂v/∂o,
            shape ``(U, )``.
    """

    gates: Tensor
    slope: Tensor


@torch.no_grad()
def binarise(
    logits: Tensor,
    noise: Tensor,
    group_of_unit: Tensor,
    temperature: float = 0.4,
    offset: float = 0.0,
) -> Draw:
    """Draw gates with a straight-through slope (eq. 2 and 12).

    ``v = 1[o + g + c > 0]``, and backwards ``∂v/∂o := z(1 - z)/τ`` with
    ``z = sigmoid((o + g + c)/τ)``. A group that would lose all its channels
    keeps the one with the largest ``o + g``, which the paper does not say:
    without it a layer can die, and the cost's gradient with it.

    Args:
        logits (Tensor): o, shape ``(U, )``.
        noise (Tensor): g, shape ``(U, )``.
        group_of_unit (Tensor): Group of every unit, shape ``(U, )``.
        temperature (float): τ. Defaults to 0.4.
        offset (float): c. Defaults to 0.
    """
    shifted = logits + noise + offset
    z = torch.sigmoid(shifted / temperature)
    slope = z * (1 - z) / temperature
    groups = int(group_of_unit[-1]) + 1
    best = shifted.new_zeros(groups)
    best.scatter_reduce_(0, group_of_unit, shifted, 'amax', include_self=False)
    best = best[group_of_unit]
    keep = (shifted > 0) | ((best <= 0) & (shifted == best))
    return Draw(keep.to(logits.dtype), slope)


def keep_probability(logits: Tensor, kind: str = 'gumbel') -> Tensor:
    """Probability that a gate is drawn as 1.

    ``1 - exp(-exp(o))`` for one Gumbel, ``sigmoid(o)`` for logistic noise,
    the difference of two.

    Args:
        logits (Tensor): ``o + c``, any shape.
        kind (str): ``'gumbel'`` or ``'logistic'``. Defaults to ``'gumbel'``.

    Examples:
        >>> round(keep_probability(torch.zeros(1)).item(), 4)
        0.6321
    """
    if kind == 'gumbel':
        return -torch.expm1(-torch.exp(logits))
    return torch.sigmoid(logits)


def even_odds(kind: str = 'gumbel') -> float:
    """The logit ``o + c`` at which a gate is kept in half of the draws.

    Examples:
        >>> round(even_odds(), 4)
        -0.3665
    """
    return math.log(math.log(2)) if kind == 'gumbel' else 0.0
