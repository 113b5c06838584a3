"""Makes a network's time known: that of an operator is what it reads."""

import torch

from mmdhp.costs import Meter, meter
from mmdhp.costs.operators import Operator

OVERHEAD = 7.0


def elements(operator, widths):
    """Elements of all inputs of an operator; bilinear in two widths."""
    shapes = (operator.shape(i, widths) for i in range(len(operator.shapes)))
    return float(sum(torch.Size(shape).numel() for shape in shapes))


def elements_of(plan, keep):
    """Elements that all operators of a cut network read."""
    gates = plan.graph.extend(keep)
    return sum(
        count
        * elements(own, [int(gates[list(u)].sum()) for u in own.variables])
        for own, count in zip(plan.operators, plan.counts)
    )


def count_elements(monkeypatch, unit=1.0):
    """Measure no time, but ``unit`` milliseconds per element.

    Returns:
        list: Grows by one for every table and every set of networks.
    """
    runs = []

    def undisturbed(functions, device, rounds, seconds=0.0):
        runs.append(len(functions))
        return [function() for function in functions]

    def networks(self, masks):
        runs.append(len(masks))
        return [OVERHEAD + unit * elements_of(self.plan, m) for m in masks]

    monkeypatch.setattr(meter, 'undisturbed', undisturbed)
    monkeypatch.setattr(Meter, 'networks', networks)
    monkeypatch.setattr(
        Operator,
        'prepare',
        lambda self, widths, device: lambda: unit * elements(self, widths),
    )
    return runs
