"""Random networks: what holds for every one must hold for any."""

import random

import pytest
import torch
import torch.nn.functional as F
import zoo
from torch import nn

import mmdhp

SEEDS = 40


class RandomNet(nn.Module):
    """A random chain of blocks, each reading any earlier feature map."""

    shape = (2, 3, 10, 6)

    def __init__(self, seed):
        super().__init__()
        draw = random.Random(seed)
        self.layers = nn.ModuleList([nn.Conv2d(3, draw.randrange(6, 13), 1)])
        self.steps = []
        widths = [self.layers[0].out_channels]
        for _ in range(draw.randrange(4, 10)):
            kind = draw.choice(list(BLOCKS))
            sources = draw.sample(range(len(widths)), min(2, len(widths)))
            layers, width = BLOCKS[kind](draw, *[widths[s] for s in sources])
            self.layers.append(nn.ModuleList(layers))
            self.steps.append((kind, sources))
            widths.append(width)
        self.flat = draw.random() < 0.3
        size = widths[-1] * (self.shape[2] * self.shape[3] if self.flat else 1)
        self.head = nn.Linear(size, 4)

    def forward(self, x):
        maps = [self.layers[0](x)]
        for (kind, sources), layers in zip(self.steps, self.layers[1:]):
            run = globals()[f'run_{kind}']
            maps.append(run(layers, *[maps[s] for s in sources]))
        x = maps[-1]
        return self.head(x.flatten(1) if self.flat else x.mean((2, 3)))


def conv(c, n, k=1, **kwargs):
    return nn.Conv2d(c, n, (k, 1), padding=(k // 2, 0), **kwargs)


def make_conv(draw, c, *_):
    n = draw.randrange(5, 12)
    norm = draw.choice([nn.BatchNorm2d(n), nn.Identity(), nn.PReLU(n)])
    return [conv(c, n, draw.choice([1, 3]), bias=draw.random() < 0.5), norm], n


def run_conv(layers, x, *_):
    return F.relu(layers[1](layers[0](x)))


def make_add(draw, c, d=None):
    return [conv(d or c, c, 3)], c


def run_add(layers, x, y=None):
    return x + layers[0](x if y is None else y)


def make_concat(draw, c, d=0):
    return [], c + d or c


def run_concat(layers, *maps):
    return torch.cat(maps, dim=1)


def make_chunk(draw, c, *_):
    half = draw.randrange(4, 7)
    inner = draw.randrange(3, 8)
    return [conv(c, 2 * half), conv(half, inner, 3)], half + inner


def run_chunk(layers, x, *_):
    left, right = layers[0](x).chunk(2, dim=1)
    return torch.cat([layers[1](right), left], dim=1)


def make_shuffle(draw, c, *_):
    n = 2 * draw.randrange(3, 7)
    return [conv(c, n), nn.ChannelShuffle(2)], n


def run_shuffle(layers, x, *_):
    x = layers[0](x)
    n, c, h, w = x.shape
    if c % 4:
        return layers[1](x)
    x = x.view(n, 2, -1, h, w).transpose(1, 2)
    return x.reshape(n, -1, h, w)


def make_pool(draw, c, *_):
    return [draw.choice([nn.AvgPool2d, nn.MaxPool2d])(3, 1, 1)], c


def run_pool(layers, x, *_):
    return layers[0](x)


def make_excite(draw, c, *_):
    middle = draw.randrange(2, 5)
    return [conv(c, middle), conv(middle, c)], c


def run_excite(layers, x, *_):
    gate = F.adaptive_avg_pool2d(x, 1)
    return x * layers[1](F.relu(layers[0](gate))).sigmoid()


def make_grouped(draw, c, *_):
    groups, per_group = draw.choice([(2, 5), (3, 4), (4, 3), (5, 2), (6, 1)])
    n, out = groups * per_group, groups * draw.randrange(1, 4)
    return [conv(c, n), conv(n, out, 3, groups=groups)], out


def run_grouped(layers, x, *_):
    return layers[1](layers[0](x))


def make_depthwise(draw, c, *_):
    norm = draw.choice([nn.InstanceNorm2d(c, affine=True), nn.Hardswish()])
    return [conv(c, c, 3, groups=c), norm], c


def run_depthwise(layers, x, *_):
    return layers[1](layers[0](x))


def make_subpixel(draw, c, *_):
    n = draw.randrange(2, 5)
    return [conv(c, 4 * n), nn.PixelShuffle(2)], n


def run_subpixel(layers, x, *_):
    return F.avg_pool2d(layers[1](layers[0](x)), 2)


def make_group_norm(draw, c, *_):
    groups = draw.randrange(2, 5)
    n = groups * draw.randrange(2, 4)
    return [conv(c, n), nn.GroupNorm(groups, n)], n


def run_group_norm(layers, x, *_):
    return layers[1](layers[0](x))


def make_transposed(draw, c, *_):
    n = draw.randrange(3, 8)
    return [nn.ConvTranspose2d(c, n, (3, 1), padding=(1, 0))], n


def run_transposed(layers, x, *_):
    return F.leaky_relu(layers[0](x))


BLOCKS = {
    name[5:]: make
    for name, make in list(globals().items())
    if name.startswith('make_')
}


def check(seed):
    """Everything that must hold; the number of prunable groups."""
    torch.manual_seed(seed)
    model = zoo.randomised(RandomNet(seed), seed)
    inputs = zoo.inputs_of(model)
    graph = mmdhp.trace(model, inputs)
    for ratio in (0.35, 0.7):
        keep = graph.random_keep(ratio, seed)
        gap = mmdhp.verify(model, graph, keep, inputs, relative=True)
        assert gap < 1e-5  # measured: below 2e-6
    mmdhp.shrink(model, graph, keep)
    assert graph.macs(keep) == zoo.counted_macs(model, inputs)
    assert graph.params(keep) == sum(p.numel() for p in model.parameters())
    assert zoo.misfits(model) == []
    other = mmdhp.rebuild(RandomNet(seed).eval(), model.state_dict())
    assert torch.equal(other(*inputs), model(*inputs))
    again = mmdhp.trace(model, inputs)
    keep = again.random_keep(0.7, seed)
    assert mmdhp.verify(model, again, keep, inputs, relative=True) < 1e-5
    return len(graph.groups)


@pytest.mark.parametrize('seed', range(SEEDS))
def test_random_network(seed):
    assert check(seed) > 0
