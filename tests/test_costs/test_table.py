"""Tables over widths and what lies between their points."""

import pytest
import torch
from torch import nn

import mmdhp
from mmdhp.costs.operators import operators_of
from mmdhp.costs.table import Interpolation, Table, grid, monotone, points


def test_points_lie_on_both_sides_of_steps():
    assert points(64) == [1, 16, 17, 32, 33, 48, 49, 64]
    assert points(40) == [1, 16, 17, 32, 33, 40]
    assert points(12) == [1, 2, 3, 6, 9, 12]
    assert points(512) == [1, 56, 120, 248, 376, 512]
    assert points(1) == [1]


@pytest.mark.parametrize('size', [5, 20, 64, 100, 512])
@pytest.mark.parametrize('divisor', [4, 8, 16])
def test_points_are_multiples_or_all(size, divisor):
    found = points(size, divisor)
    assert found == sorted(set(found))
    assert found[-1] == size
    assert all(own % divisor == 0 for own in found[:-1])


def test_a_table_is_made_to_rise():
    noisy = torch.tensor([[1.0, 3.0, 2.0], [2.0, 1.0, 4.0]]).double()
    found = monotone(noisy)
    assert (found.diff(dim=0) >= 0).all()
    assert (found.diff(dim=1) >= 0).all()
    rising = torch.tensor([[1.0, 2.0], [2.0, 5.0]]).double()
    assert torch.equal(monotone(rising), rising)


class Net(nn.Module):
    """Operators of no, one, two and three variables."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 10, 3, padding=1)
        self.second = nn.Conv2d(10, 14, 1)
        self.third = nn.Conv2d(3, 6, 1)
        self.head = nn.Conv2d(30, 5, 1)

    def forward(self, x):
        a, c = self.first(x).relu(), self.third(x)
        x = torch.cat([a, self.second(a), c], 1)
        return self.head(x).relu()


@pytest.fixture
def graph():
    return mmdhp.trace(Net(), torch.zeros(2, 3, 7, 6))


@pytest.fixture
def operators(graph):
    return operators_of(graph.activity, graph.activity, graph.num_units)


def test_operators_have_the_variables_of_their_tensors(operators):
    assert [len(own.variables) for own in operators] == [1, 1, 1, 2, 3, 1, 0]


def elements(operator, widths):
    shapes = (operator.shape(i, widths) for i in range(len(operator.shapes)))
    return 1.0 + sum(torch.Size(shape).numel() for shape in shapes)


@pytest.fixture
def total(graph, operators):
    """The sum of tables that were made by counting elements."""
    tables = [
        Table.of(own, 1, [elements(own, w) for w in grid(own, 1)])
        for own in operators
    ]
    return Interpolation(graph, operators, tables, [1] * len(tables))


def counted(graph, operators, keep):
    gates = graph.extend(keep)
    return [
        elements(own, [int(gates[list(u)].sum()) for u in own.variables])
        for own in operators
    ]


@pytest.mark.parametrize('seed', range(4))
def test_between_points_it_is_bilinear(graph, operators, total, seed):
    keep = graph.random_keep(0.2 + 0.2 * seed, seed)
    expected = counted(graph, operators, keep)
    torch.testing.assert_close(
        total.times(keep.double()), torch.tensor(expected).double()
    )
    assert total(keep.double()).item() == pytest.approx(sum(expected))


def test_every_unit_has_its_derivative(graph, operators, total):
    gates = graph.full().double()
    gates[::3] = 0.0
    gates.requires_grad_()
    (slope,) = torch.autograd.grad(total(gates), gates)
    for unit in range(0, graph.num_units, 5):
        less = gates.detach().clone()
        less[unit] -= 1e-3
        difference = (total(gates) - total(less)).item() / 1e-3
        assert slope[unit].item() == pytest.approx(difference)
    assert slope.min() > 0
