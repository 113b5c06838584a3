"""Memory of activations, counted by hand."""

import torch
from torch import nn

from mmdhp.report.measuring import measure, peak_activations


class Chain(nn.Module):
    """Two convs; between them, what is no longer needed goes."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = nn.Conv2d(8, 5, 1)

    def forward(self, x):
        x = self.first(x)
        x = self.second(x)
        return x.flatten(1)  # a view: no memory of its own


class Skip(Chain):
    """The input is needed until the end."""

    def forward(self, x):
        y = self.first(x)
        z = self.second(y)
        return torch.cat([x, y, z], 1)


def test_peak_of_activations():
    inputs = torch.rand(2, 3, 4, 5)
    pixel = 4 * 2 * 4 * 5  # bytes of one channel
    # The caller holds the input throughout.
    assert peak_activations(Chain().eval(), inputs) == (3 + 8 + 5) * pixel
    assert peak_activations(Skip().eval(), inputs) == 2 * (3 + 8 + 5) * pixel


def test_parameters_do_not_count():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 1000))
    inputs = torch.rand(1, 3, 2, 2)
    assert peak_activations(model.eval(), inputs) == 4 * (12 + 1000)


def test_both_networks_are_measured():
    small, large = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 64, 3)
    found = measure([large.eval(), small.eval()], (3, 40, 40), rounds=3)
    assert found.memory[1] < found.memory[0]
    assert all(value > 0 for value in found.latency)
    assert found.threads == 1
