"""Small networks, named after their difficulty, that carry their answers.

``shape`` is the shape of one input, or a list of them. ``expected`` maps the
name of every prunable group to its size. ``frozen`` maps reason codes, beside
those of inputs and outputs, to a word of the reason. ``unlike_peers`` says
that other libraries cannot prune it right.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Shared(nn.Module):
    """Two consumers of one producer."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 7, 'left': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 7, (3, 5), padding=(1, 2))
        self.left = nn.Conv2d(7, 6, 3)
        self.right = nn.Conv2d(7, 4, 3)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.head(self.left(x)) + self.right(x)


class Residual(nn.Module):
    """The stream and every branch added to it live together."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 8, 'first': 6, 'second': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.first = nn.Conv2d(8, 6, 3, padding=1)
        self.first_out = nn.Conv2d(6, 8, 1)
        self.second = nn.Conv2d(8, 5, 3, padding=1)
        self.second_out = nn.Conv2d(5, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.norm(self.stem(x))
        x = x + self.first_out(F.relu(self.first(x)))
        y = self.second_out(F.relu_(self.second(x)))
        y += x
        return self.head(y.mean((2, 3)))


class Concat(nn.Module):
    """A reader of three producers, one of them twice."""

    shape = (2, 3, 11, 9)
    expected = {'a': 5, 'b': 7}

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 5, 3, padding=1)
        self.b = nn.Conv2d(3, 7, 1)
        self.head = nn.Conv2d(5 + 7 + 3 + 5, 4, 3)

    def forward(self, x):
        a = self.a(x)
        return self.head(torch.cat([a, self.b(x), x, a], dim=1))


class ConcatDepthwise(nn.Module):
    """A layer made of two others: neither of them may lose all channels."""

    shape = (2, 3, 11, 9)
    expected = {'a': 5, 'b': 7}

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 5, 3, padding=1)
        self.b = nn.Conv2d(3, 7, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, groups=12)
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, x):
        x = torch.cat([self.a(x), self.b(x)], dim=1)
        return self.head(self.depthwise(x))


class PartlyShared(nn.Module):
    """One producer, two groups: some of its channels are also another's."""

    shape = (2, 3, 11, 9)
    expected = {'sum': 5, 'b': 7}

    def __init__(self):
        super().__init__()
        self.sum = nn.Conv2d(3, 12, 1)
        self.a = nn.Conv2d(3, 5, 3, padding=1)
        self.b = nn.Conv2d(3, 7, 1)
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, x):
        y = self.sum(x)
        return self.head(y + torch.cat([self.a(x), self.b(x)], dim=1))


class SideBySide(nn.Module):
    """Concatenation in space ties channels, to fixed ones too."""

    shape = (2, 3, 11, 9)
    expected = {'a': 5}
    frozen = {'fixed-width': 'aten::cat'}

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 5, 3, padding=1)
        self.b = nn.Conv2d(3, 5, 3, padding=1)
        self.c = nn.Conv2d(5, 3, 1)
        self.head = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = torch.cat([self.a(x), self.b(x)], dim=2)
        return self.head(torch.cat([self.c(y), x], dim=3 - 1))


class Depthwise(nn.Module):
    """A depthwise conv follows its producer; a multiplier of 2 as well."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6, 'mid': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 1)
        self.depthwise = nn.Conv2d(6, 6, 3, groups=6)
        self.mid = nn.Conv2d(6, 5, 1)
        self.doubled = nn.Conv2d(5, 10, (3, 1), groups=5)
        self.head = nn.Conv2d(10, 4, 1)

    def forward(self, x):
        x = F.relu6(self.depthwise(self.stem(x)))
        return self.head(self.doubled(self.mid(x)))


class GroupedWhole(nn.Module):
    """Many small groups: whole groups go."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}
    frozen = {'inside-group': 'convolution in grouped is grouped'}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 1)
        self.grouped = nn.Conv2d(12, 18, 3, groups=6)
        self.head = nn.Conv2d(18, 4, 1)

    def forward(self, x):
        return self.head(self.grouped(self.stem(x)))


class GroupedByPosition(nn.Module):
    """Few large groups: the same positions go in each of them."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6, 'grouped': 4}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 1)
        self.grouped = nn.Conv2d(12, 8, 3, groups=2)
        self.head = nn.Conv2d(8, 5, 1)

    def forward(self, x):
        return self.head(self.grouped(self.stem(x)))


class GroupedFunctional(nn.Module):
    """The number of groups stands in the code, not in a layer."""

    shape = (2, 3, 11, 9)
    expected = {'before': 7}
    frozen = {'fixed-groups': 'fixed number of groups'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 7, 1)
        self.stem = nn.Conv2d(7, 6, 1)
        self.kernel = nn.Parameter(torch.randn(6, 1, 3, 2))
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        x = self.stem(self.before(x))
        return self.head(F.conv2d(x, self.kernel, groups=6))


class SubPixel(nn.Module):
    """PixelShuffle: r² channels of the conv are one unit."""

    shape = (2, 3, 7, 5)
    expected = {'stem': 6, 'up': 5}

    def __init__(self, spelling='module'):
        super().__init__()
        self.spelling = spelling
        self.stem = nn.Conv2d(3, 6, 3)
        self.up = nn.Conv2d(6, 20, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.head = nn.Conv2d(5, 3, 1)

    def forward(self, x):
        x = self.up(self.stem(x))
        if self.spelling == 'module':
            x = self.shuffle(x)
        elif self.spelling == 'functional':
            x = F.pixel_shuffle(x, 2)
        else:
            n, c, h, w = x.shape
            x = x.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
            x = x.reshape(n, c // 4, 2 * h, 2 * w)
        return self.head(F.relu(x))


class PixelUnshuffle(nn.Module):
    """Space to depth: a channel becomes r² input channels."""

    shape = (2, 3, 8, 6)
    expected = {'stem': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Conv2d(20, 4, 1)

    def forward(self, x):
        return self.head(F.pixel_unshuffle(self.stem(x), 2))


class ChannelShuffle(nn.Module):
    """A shuffle keeps its groups equally large."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 5, 'mid': 7}

    def __init__(self, spelling='view'):
        super().__init__()
        self.spelling = spelling
        self.stem = nn.Conv2d(3, 10, 1)
        self.native = nn.ChannelShuffle(2)
        self.mid = nn.Conv2d(10, 7, 1)
        self.head = nn.Conv2d(7, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        if self.spelling == 'module':
            return self.head(self.mid(self.native(x)))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(self.mid(x))


class ShuffledGroups(nn.Module):
    """Whole groups cannot go through a shuffle with a literal 2."""

    shape = (2, 3, 11, 9)
    expected = {'before': 5}
    frozen = {'split': 'fixed number of pieces'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 5, 1)
        self.stem = nn.Conv2d(5, 4, 1)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2)
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        x = self.grouped(self.stem(self.before(x)))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(x)


class Chunk(nn.Module):
    """Halves lose the same positions; one of them has an interior conv."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 5, 'inner': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 1)
        self.inner = nn.Conv2d(5, 6, 3, padding=1)
        self.head = nn.Conv2d(11, 4, 1)

    def forward(self, x):
        left, right = self.stem(x).chunk(2, dim=1)
        return self.head(torch.cat([left, self.inner(right)], dim=1))


class LiteralSplit(nn.Module):
    """``split`` says how wide the pieces are, so they stay."""

    shape = (2, 3, 11, 9)
    expected = {'before': 7}
    frozen = {'sliced': 'aten::split'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 7, 1)
        self.stem = nn.Conv2d(7, 10, 1)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        left, right = torch.split(self.stem(self.before(x)), 5, dim=1)
        return self.head(left * right)


class GatedHalves(nn.Module):
    """GLU in one operator."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 1)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        return self.head(F.glu(self.stem(x), dim=1))


class Transposed(nn.Module):
    """Input and output change places in the weight."""

    shape = (2, 3, 7, 5)
    expected = {'stem': 6, 'up': 7}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.up = nn.ConvTranspose2d(6, 7, (4, 2), stride=2)
        self.head = nn.Conv2d(7, 4, 3)

    def forward(self, x):
        return self.head(self.up(self.stem(x)))


class TransposedGrouped(nn.Module):
    """Both ways to prune a grouped transposed conv."""

    shape = (2, 3, 7, 5)
    expected = {'stem': 4, 'mid': 5, 'few': 3}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.many = nn.ConvTranspose2d(8, 12, (4, 2), stride=2, groups=4)
        self.mid = nn.Conv2d(12, 10, 3)
        self.few = nn.ConvTranspose2d(10, 6, (2, 3), groups=2)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return self.head(self.few(self.mid(self.many(self.stem(x)))))


class Conv1d(nn.Module):
    """Sequences."""

    shape = (2, 3, 17)
    expected = {'stem': 6, 'mid': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(3, 6, 3)
        self.mid = nn.Conv1d(6, 5, 2)
        self.head = nn.Conv1d(5, 4, 1)

    def forward(self, x):
        return self.head(F.avg_pool1d(self.mid(self.stem(x)), 2))


class Conv3d(nn.Module):
    """Volumes."""

    shape = (2, 3, 4, 7, 5)
    expected = {'stem': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 6, (2, 3, 1))
        self.norm = nn.BatchNorm3d(6)
        self.head = nn.Conv3d(6, 4, 1)

    def forward(self, x):
        return self.head(F.max_pool3d(self.norm(self.stem(x)), 2, 1))


class PReLU(nn.Module):
    """One slope per channel, and one for all."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6, 'mid': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.slopes = nn.PReLU(6)
        self.mid = nn.Conv2d(6, 5, 1)
        self.slope = nn.PReLU()
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        return self.head(self.slope(self.mid(self.slopes(self.stem(x)))))


class GroupNorm(nn.Module):
    """Channels of one normalisation group are one unit."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 4, 'per_channel': 5}
    frozen = {'mixed': 'native_group_norm', 'fixed-groups': 'no parameter'}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3)
        self.norm = nn.GroupNorm(4, 12)
        self.per_channel = nn.Conv2d(12, 5, 1)
        self.per_channel_norm = nn.GroupNorm(5, 5)
        self.all = nn.Conv2d(5, 6, 1)
        self.all_norm = nn.GroupNorm(1, 6)
        self.plain = nn.Conv2d(6, 8, 1)
        self.plain_norm = nn.GroupNorm(2, 8, affine=False)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.per_channel(self.norm(self.stem(x)))
        x = self.all_norm(self.all(self.per_channel_norm(x)))
        return self.head(self.plain_norm(self.plain(x)))


class InstanceNorm(nn.Module):
    """Channels are merged into the batch and taken out again."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.norm = nn.InstanceNorm2d(6, affine=True)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return self.head(self.norm(self.stem(x)))


class LayerNorm(nn.Module):
    """One mean over all channels: they stay; the inner ones do not."""

    shape = (2, 7, 5)
    expected = {'inner': 9}
    frozen = {'mixed': 'native_layer_norm in norm'}

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(5, 6)
        self.norm = nn.LayerNorm(6)
        self.inner = nn.Linear(6, 9)
        self.outer = nn.Linear(9, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.norm(self.stem(x))
        return self.head(x + self.outer(F.gelu(self.inner(x))))


class SqueezeExcite(nn.Module):
    """Channels gate themselves through a pooled branch."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 8, 'squeeze': 3}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.squeeze = nn.Conv2d(8, 3, 1)
        self.excite = nn.Conv2d(3, 8, 1)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        gate = F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        return self.head(x * self.excite(gate).sigmoid())


class Flatten(nn.Module):
    """A channel is a run of positions of the linear layer's input."""

    shape = (2, 3, 7, 5)
    expected = {'stem': 6, 'hidden': 7}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.hidden = nn.Linear(6 * 5 * 3, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        return self.head(F.relu(self.hidden(self.stem(x).flatten(1))))


class Reused(nn.Module):
    """A module that runs twice: input and output live together."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.twice = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        x = self.twice(self.stem(x))
        return self.head(self.twice(F.relu(x)))


class SharedWeight(nn.Module):
    """Two modules, one parameter."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6, 'one': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.one = nn.Conv2d(6, 6, 3, padding=1)
        self.two = nn.Conv2d(6, 6, 3, padding=2, dilation=2)
        self.two.weight = self.one.weight
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.one(x) + self.two(x))


class RawParameter(nn.Module):
    """Parameters that belong to no layer, and a saved buffer."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6, 'kernel': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.scale = nn.Parameter(torch.randn(6, 1, 1))
        self.register_buffer('shift', torch.randn(1, 6, 1, 1))
        self.kernel = nn.Parameter(torch.randn(5, 6, 2, 1))
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        x = self.stem(x) * self.scale + self.shift
        return self.head(F.conv2d(x, self.kernel))


class UnsavedBuffer(nn.Module):
    """A checkpoint cannot say how wide this buffer is."""

    shape = (2, 3, 11, 9)
    expected = {'before': 5}
    frozen = {'not-saved': 'shift'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 5, 3)
        self.stem = nn.Conv2d(5, 6, 3)
        shift = torch.randn(6, 1, 1)
        self.register_buffer('shift', shift, persistent=False)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return self.head(self.stem(self.before(x)) + self.shift)


class Attention(nn.Module):
    """A fused qkv layer, with a literal number of heads."""

    shape = (2, 7, 5)
    expected = {'project': 6, 'inner': 9}
    frozen = {'literal': 'pieces of sizes that it fixes'}

    def __init__(self, spelling='product'):
        super().__init__()
        self.spelling = spelling
        self.qkv = nn.Linear(5, 3 * 2 * 4)
        self.project = nn.Linear(2 * 4, 6)
        self.inner = nn.Linear(6, 9)
        self.head = nn.Linear(9, 3)

    def forward(self, x):
        n, length, _ = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, 2, 4).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        if self.spelling == 'product':
            x = (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v
        else:
            x = F.scaled_dot_product_attention(q, k, v)
        x = x.transpose(1, 2).reshape(n, length, 8)
        return self.head(F.gelu(self.inner(self.project(x))))


class MultiheadAttention(nn.Module):
    """PyTorch's own attention loses heads, and the width of its input."""

    shape = (2, 7, 5)
    expected = {
        'stem': 6,
        'attend.in_proj_weight': 2,
        'attend.out_proj': 6,
        'inner': 9,
    }
    frozen = {}

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(5, 6)
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)
        self.inner = nn.Linear(6, 9)
        self.head = nn.Linear(9, 4)

    def forward(self, x):
        x = self.stem(x)
        x, _ = self.attend(x, x, x, need_weights=False)
        return self.head(F.gelu(self.inner(x)))


class Einsum(nn.Module):
    """A 1×1 convolution in disguise."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6, 'mix': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.mix = nn.Parameter(torch.randn(5, 6))
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        x = torch.einsum('bchw,oc->bohw', self.stem(x), self.mix)
        return self.head(x)


class Stacked(nn.Module):
    """Stacked pieces need the same width."""

    shape = (2, 3, 11, 9)
    expected = {'a': 6}

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3)
        self.b = nn.Conv2d(3, 6, 3)
        self.head_a = nn.Conv2d(6, 4, 1)
        self.head_b = nn.Conv2d(6, 5, 1)

    def forward(self, x):
        a, b = torch.stack([self.a(x), self.b(x)], dim=1).unbind(1)
        return self.head_a(a), self.head_b(b)


class Rolled(nn.Module):
    """A flip of channels commutes with pruning, a roll does not."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}
    frozen = {'sliced': 'aten::roll'}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.mid = nn.Conv2d(6, 5, 1)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        x = self.mid(self.stem(x).roll((1, 2), (2, 3)).flip(1))
        return self.head(x.roll(1, 1))


class PaddedChannels(nn.Module):
    """A shortcut that pads channels with zeros: they stay."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 5, 'inner': 7}
    frozen = {'fixed-width': 'aten::add'}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3)
        self.inner = nn.Conv2d(5, 7, 1)
        self.outer = nn.Conv2d(7, 9, 1)
        self.head = nn.Conv2d(9, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        short = F.pad(x, (0, 0, 0, 0, 2, 2))
        return self.head(short + self.outer(F.relu(self.inner(x))))


class Reductions(nn.Module):
    """Channel statistics freeze; spatial ones do not."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}
    frozen = {'mixed': 'aten::amax'}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.mid = nn.Conv2d(6, 5, 1)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = self.stem(x)
        x = x - x.mean((2, 3), keepdim=True) + x.max(3, keepdim=True)[0]
        x = x / (1 + x.norm(dim=(2, 3), keepdim=True))
        x = self.mid(x)
        x = x - x.amax(1, keepdim=True)
        return self.head(x.sum((-1, -2)))


class InPlaceView(nn.Module):
    """An in-place sum on a view changes what the whole tensor is tied to."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.side = nn.Conv2d(3, 6, 3)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        y = self.stem(x)
        y[:, :, 2:4].add_(self.side(x)[:, :, :2])
        return self.head(y)


class DataDependent(nn.Module):
    """Python code that looks at a value."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        if x.mean().item() > 1e6:
            return x
        return self.head(self.stem(x))


class UnknownOperator(nn.Module):
    """An operator without a rule freezes what flows into it."""

    shape = (2, 3, 11, 9)
    expected = {'before': 5, 'after': 7}
    frozen = {'unknown-operator': 'linalg_cross in inner'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 5, 3)
        self.stem = nn.Conv2d(5, 6, 3)
        self.inner = _Cross()
        self.after = nn.Conv2d(2, 7, 1)
        self.head = nn.Conv2d(7, 4, 1)

    def forward(self, x):
        x = self.inner(self.stem(self.before(x)))
        return self.head(self.after(x))


class _Cross(nn.Module):
    def forward(self, x):
        n, _, h, w = x.shape
        x = x.unflatten(1, (2, -1))
        x = torch.linalg.cross(x, x.flip(1), dim=2)
        return x.reshape(n, 2, 3 * h, w)


class CompiledBypass(nn.Module):
    """Values leave PyTorch, so any channel before may have led to them."""

    shape = (2, 3, 11, 9)
    expected = {'after': 7}
    frozen = {'bypass': 'outside the traced operators'}

    def __init__(self, allocates=False):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.inner = _Bypass(allocates)
        self.after = nn.Conv2d(6, 7, 1)
        self.head = nn.Conv2d(7, 4, 1)

    def forward(self, x):
        return self.head(self.after(self.inner(self.stem(x))))


class _Bypass(nn.Module):
    def __init__(self, allocates):
        super().__init__()
        self.allocates = allocates

    def forward(self, x):
        found = x.numpy()[:, ::-1].copy()
        if not self.allocates:
            return torch.from_numpy(found)
        out = x.new_empty(found.shape)
        out.numpy()[:] = found
        return out


class BypassedLayer(nn.Module):
    """A layer whose parameters no traced operator reads."""

    shape = (2, 3, 11, 9)
    expected = {'after': 7}
    frozen = {'bypass': r'inner \(_CompiledConv\) computes outside'}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.inner = _CompiledConv()
        self.after = nn.Conv2d(6, 7, 1)
        self.head = nn.Conv2d(7, 4, 1)

    def forward(self, x):
        return self.head(self.after(self.inner(self.stem(x))))


class _CompiledConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        out = x.new_ones(x.shape)
        out.numpy()[:] = x.numpy()[:, ::-1]
        return out


class CachedTensor(nn.Module):
    """A module that stores tensors in its forward."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}

    def __init__(self):
        super().__init__()
        self.mean = torch.randn(1, 3, 1, 1)
        self.cache = {'seen': [], 'last': None}
        self.stem = nn.Conv2d(3, 6, 3)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        self.mean = self.mean.to(x)
        y = self.stem(x - self.mean)
        self.cache['seen'].append(y)
        self.cache['last'] = y
        self.register_buffer('late', torch.ones(4, 1, 1))
        return self.head(y)


class MultiOutput(nn.Module):
    """Nested outputs: all of them stay."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.mid = nn.Conv2d(6, 5, 3)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        x = self.mid(self.stem(x))
        return {'features': [x], 'scores': (self.head(x), None)}


class TwoInputs(nn.Module):
    """Inputs of different widths."""

    shape = [(2, 3, 11, 9), (2, 5, 11, 9)]
    expected = {'left': 6}

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 6, 3)
        self.right = nn.Conv2d(5, 6, 3)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x, y):
        return self.head(self.left(x) * self.right(y))


class SingleChannel(nn.Module):
    """Layers with one channel keep it; broadcasting ties nothing."""

    shape = (2, 1, 11, 9)
    expected = {'stem': 6}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3)
        self.attend = nn.Conv2d(6, 1, 1)
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x * self.attend(x).sigmoid())


class WeightStandardised(nn.Module):
    """A mean over the weight's input axis: those inputs stay."""

    shape = (2, 3, 11, 9)
    expected = {'before': 7, 'mid': 5}
    frozen = {'mixed': 'aten::mean'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 7, 3)
        self.stem = nn.Conv2d(7, 6, 3)
        self.mid = nn.Conv2d(6, 5, 3)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        weight = self.mid.weight
        weight = weight - weight.mean((1, 2, 3), keepdim=True)
        x = self.stem(self.before(x))
        return self.head(F.conv2d(x, weight, self.mid.bias))


class WeightBatchNormed(nn.Module):
    """Standardised weights, spelled as a batch norm of this very batch."""

    shape = (2, 3, 11, 9)
    expected = {'before': 7, 'mid': 5}
    frozen = {'mixed': 'native_batch_norm'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 7, 3)
        self.stem = nn.Conv2d(7, 6, 3)
        self.mid = nn.Conv2d(6, 5, (3, 1))
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        weight = self.mid.weight
        flat = weight.reshape(1, len(weight), -1)
        flat = F.batch_norm(flat, None, None, training=True)
        x = self.stem(self.before(x))
        return self.head(F.conv2d(x, flat.reshape_as(weight)))


class FixedSummand(nn.Module):
    """A constant of as many channels fixes them."""

    shape = (2, 3, 11, 9)
    expected = {'before': 5}
    frozen = {'fixed-width': 'a constant made by aten::arange'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 5, 3)
        self.stem = nn.Conv2d(5, 6, 3)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        constant = torch.arange(6.0).view(6, 1, 1)
        return self.head(self.stem(self.before(x)) + constant)


class Warped(nn.Module):
    """Channels that are used as positions stay."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 6}
    frozen = {'spatial': 'takes them for positions'}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.flow = nn.Conv2d(6, 2, 3)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        grid = self.flow(x).permute(0, 2, 3, 1)
        return self.head(F.grid_sample(x, grid, align_corners=False))


class PooledChannels(nn.Module):
    """Pooling over the axis that carries channels."""

    shape = (2, 7, 5)
    expected = {'before': 9}
    frozen = {'spatial': 'avg_pool.* slides over these channels'}

    def __init__(self):
        super().__init__()
        self.before = nn.Linear(5, 9)
        self.stem = nn.Linear(9, 6)
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        return self.head(F.avg_pool1d(self.stem(self.before(x)), 2))


class ConvolvedChannels(nn.Module):
    """A convolution over channels, as in ECA: they stay."""

    shape = (2, 3, 11, 9)
    expected = {'before': 5}
    frozen = {'spatial': 'slides over an axis that carries channels'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 5, 3)
        self.stem = nn.Conv2d(5, 6, 3)
        self.mix = nn.Conv1d(1, 1, 3, padding=1)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        x = self.stem(self.before(x))
        gate = self.mix(x.mean((2, 3)).unsqueeze(1)).sigmoid()
        return self.head(x * gate.transpose(1, 2).unsqueeze(-1))


class ChunkBesideFixed(nn.Module):
    """One half of a chunk is the image, so the other half stays."""

    shape = (2, 5, 11, 9)
    expected = {'before': 7}
    frozen = {'fixed-width': 'shares a reshaped axis'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(5, 7, 1)
        self.stem = nn.Conv2d(7, 5, 1)
        self.left = nn.Conv2d(5, 4, 1)
        self.right = nn.Conv2d(5, 4, 3, padding=1)

    def forward(self, x):
        y = torch.cat([self.stem(self.before(x)), x], dim=1)
        left, right = y.chunk(2, dim=1)
        return self.left(left) + self.right(right)


class SpelledSplit(nn.Module):
    """``-1`` says which of two axes is left open: here, not the last."""

    shape = (2, 3, 11, 9)
    expected = {'stem': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 1)
        self.head = nn.Conv2d(10, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        n, _, h, w = x.shape
        x = x.view(n, -1, 2, h, w).transpose(1, 2)
        return self.head(x.reshape(n, -1, h, w))


class ConcatSubPixel(nn.Module):
    """Sub-pixels laid out in space, beside ordinary channels."""

    shape = (2, 3, 8, 6)
    expected = {'up': 5, 'side': 7}

    def __init__(self):
        super().__init__()
        self.up = nn.Conv2d(3, 20, 1)
        self.side = nn.Conv2d(3, 7, 1)
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, x):
        y = self.up(x)
        n, c, h, w = y.shape
        y = y.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
        y = y.reshape(n, c // 4, 2 * h, 2 * w)
        side = F.interpolate(self.side(x), scale_factor=2)
        return self.head(torch.cat([F.max_pool2d(y, 3, 1, 1), side], dim=1))


class AttentionBiased(nn.Module):
    """A layer makes the scores' bias: its channels are positions."""

    shape = (2, 7, 5)
    expected = {'inner': 9}
    frozen = {'fixed-width': 'of the same width at aten::add'}

    def __init__(self):
        super().__init__()
        self.bias = nn.Linear(5, 7)
        self.inner = nn.Linear(4, 9)
        self.head = nn.Linear(9, 3)

    def forward(self, x):
        heads = x[:, None, :, :4]
        mask = self.bias(x)[:, None]
        x = F.scaled_dot_product_attention(heads, heads, heads, mask)
        return self.head(F.gelu(self.inner(x[:, 0])))


class AttentionHeads(nn.Module):
    """Heads of an attention, counted by an attribute of the module."""

    unlike_peers = True
    shape = (2, 7, 5)
    expected = {'qkv': 3, 'project': 6}

    def __init__(self):
        super().__init__()
        self.heads, self.width = 3, 4
        self.qkv = nn.Linear(5, 3 * 3 * 4)
        self.norm = nn.LayerNorm(4)  # of every head by itself
        self.project = nn.Linear(12, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        n, length, _ = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.heads, self.width)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = (self.norm(q) @ k.transpose(-2, -1)).softmax(-1)
        x = (scores @ v).transpose(1, 2).reshape(n, length, -1)
        return self.head(self.project(x))


class AttributeSplit(nn.Module):
    """Pieces whose sizes the module holds, one alone and one in a list."""

    unlike_peers = True
    shape = (2, 3, 11, 9)
    expected = {'stem': 5, 'stem:2': 4, 'stem:3': 3}

    def __init__(self):
        super().__init__()
        self.first, self.others = 5, [4, 3]
        self.stem = nn.Conv2d(3, 12, 3)
        self.a = nn.Conv2d(5, 4, 1)
        self.b = nn.Conv2d(4, 4, (3, 1), padding=(1, 0))
        self.c = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        x, y, z = self.stem(x).split([self.first, *self.others], dim=1)
        return self.a(x) + self.b(y) + self.c(z)


class HalvesBySlice(nn.Module):
    """Halves whose border is computed from the width."""

    unlike_peers = True
    shape = (2, 3, 11, 9)
    expected = {'stem': 4, 'inner': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.inner = nn.Conv2d(4, 5, 1)
        self.head = nn.Conv2d(9, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        half = x.shape[1] // 2
        return self.head(torch.cat([x[:, :half], self.inner(x[:, half:])], 1))


class LiteralWidth(nn.Module):
    """The code asks for a number of channels as a number."""

    unlike_peers = True
    shape = (2, 3, 11, 9)
    expected = {'before': 5, 'after': 7}
    frozen = {'literal': 'asks for 6'}

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 5, 3)
        self.stem = nn.Conv2d(5, 6, 3)
        self.after = nn.Conv2d(6, 7, 1)
        self.head = nn.Conv2d(7, 4, 1)

    def forward(self, x):
        x = self.stem(self.before(x))
        x = x.reshape(x.shape[0], 6, -1)[..., None]
        return self.head(self.after(x))


class FollowingConstants(nn.Module):
    """Constants that are as wide as the code asks for follow the cut."""

    unlike_peers = True
    shape = (2, 3, 11, 9)
    expected = {'stem': 6, 'inner': 5}

    def __init__(self):
        super().__init__()
        self.width = 5
        self.stem = nn.Conv2d(3, 6, 3)
        self.inner = nn.Conv2d(6, 5, 1)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        x = x + x.new_ones(1, x.shape[1], 1, 1)
        x = self.inner(x)
        out = x.new_zeros(len(x), self.width, *x.shape[2:])
        some = torch.arange(len(x))
        out[some] = x[some]
        return self.head(out * x.new_ones(1, 1, 1, 1).expand_as(x))


class Unfolded(nn.Module):
    """Patches and back: a channel is one per kernel position in between."""

    shape = (2, 3, 8, 6)
    expected = {'stem': 5, 'inner': 4}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 1)
        self.unfold = nn.Unfold(2, stride=2)
        self.fold = nn.Fold((8, 6), 2, stride=2)
        self.inner = nn.Conv2d(5, 4, 3)
        self.head = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.fold(self.unfold(self.stem(x)).relu())
        return self.head(self.inner(x))


class Unpooled(nn.Module):
    """Positions of maxima have the channels of the maxima."""

    shape = (2, 3, 8, 6)
    expected = {'stem': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 1)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        return self.head(self.unpool(*self.pool(self.stem(x))))


class SpectrallyNormed(nn.Module):
    """The norm of a weight is a product with vectors, which are cut too."""

    unlike_peers = True
    shape = (2, 3, 11, 9)
    expected = {'stem.parametrizations.weight.original': 6, 'mid': 5}

    def __init__(self):
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.stem = norm(nn.Conv2d(3, 6, (3, 1)))
        self.mid = nn.Conv2d(6, 5, 1)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        return self.head(self.mid(self.stem(x)))


class Deformable(nn.Module):
    """Channels that share offsets are cut evenly; offsets stay."""

    unlike_peers = True
    shape = (2, 3, 8, 6)
    expected = {'stem': 3, 'mid': 5}
    frozen = {'spatial': 'takes them for positions'}

    def __init__(self):
        super().__init__()
        from torchvision.ops import DeformConv2d

        self.stem = nn.Conv2d(3, 6, 1)
        self.offset = nn.Conv2d(6, 2 * 2 * 9, 3, padding=1)
        self.mid = DeformConv2d(6, 5, 3, padding=1)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        offset = self.offset(x).tanh()  # two for every kernel position
        return self.head(self.mid(x, offset))


class Regions(nn.Module):
    """Crops of a feature map have its channels."""

    shape = (2, 3, 8, 6)
    expected = {'stem': 6, 'flat': 5}

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 1)
        self.flat = nn.Linear(6 * 4, 5)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        from torchvision.ops import roi_align

        boxes = torch.tensor([[0, 1.0, 1, 5, 4], [1, 0, 0, 3, 6]])
        x = roi_align(self.stem(x), boxes.to(x), 2)
        return self.head(self.flat(x.flatten(1)).relu())


class ComputedInEval(nn.Module):
    """A bias of every head, looked up when the mode is set."""

    unlike_peers = True
    shape = (2, 7, 5)
    expected = {'stem': 6, 'mid': 4}

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(5, 6)
        self.table = nn.Parameter(torch.randn(3, 6))
        self.mid = nn.Linear(6, 4)
        self.head = nn.Linear(4, 3)
        self.bias = None

    def train(self, mode=True):
        super().train(mode)
        index = torch.tensor([0, 2, 1, 0, 2, 1, 1])
        self.bias = None if mode else self.table[index].detach()
        return self

    def forward(self, x):
        return self.head(self.mid((self.stem(x) + self.bias).relu()))


ZOO = {
    network.__name__: network
    for network in list(globals().values())
    if isinstance(network, type) and hasattr(network, 'expected')
}
ZOO.update(
    {
        'SubPixelFunctional': lambda: SubPixel('functional'),
        'SubPixelView': lambda: SubPixel('view'),
        'ChannelShuffleModule': lambda: ChannelShuffle('module'),
        'AttentionFused': lambda: Attention('fused'),
        'CompiledBypassAllocates': lambda: CompiledBypass(allocates=True),
    }
)


def build(name, seed=0):
    """A zoo network and inputs for it."""
    torch.manual_seed(seed)
    model = randomised(ZOO[name](), seed)
    return model, inputs_of(model)


def inputs_of(model):
    """Random inputs of a zoo network."""
    generator = torch.Generator().manual_seed(1)
    shapes = model.shape if isinstance(model.shape, list) else [model.shape]
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


@torch.no_grad()
def randomised(model, seed=0):
    """Give norms and biases values at which a wrong index shows, in place."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.dim() != 1 or not tensor.is_floating_point():
            continue
        if name.endswith(('weight', 'running_var')):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.normal_(0, 0.3, generator=generator)
    model.eval()  # OpenMMLab's backbones return nothing here
    return model


def _fits_conv(conv):
    first, second = conv.weight.shape[:2]
    widths = (second * conv.groups, first)
    if conv.transposed:
        widths = (first, second * conv.groups)
    own = (conv.in_channels, conv.out_channels)
    return own == widths and conv.out_channels % conv.groups == 0


def _fits_batch_norm(norm):
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return {len(t) for t in tensors if t is not None} <= {norm.num_features}


def _fits_group_norm(norm):
    affine = norm.weight is None or norm.num_channels == len(norm.weight)
    return affine and norm.num_channels % norm.num_groups == 0


_FITS = {
    nn.modules.conv._ConvNd: _fits_conv,
    nn.modules.batchnorm._NormBase: _fits_batch_norm,
    nn.GroupNorm: _fits_group_norm,
    nn.LayerNorm: lambda m: m.normalized_shape == tuple(m.weight.shape),
    nn.Linear: lambda m: (
        (m.out_features, m.in_features) == tuple(m.weight.shape)
    ),
    nn.PReLU: lambda m: m.num_parameters == len(m.weight),
}


def misfits(model):
    """Modules whose attributes disagree with the shapes of their tensors."""
    return [
        f'{name}: {module}'
        for name, module in model.named_modules()
        for kind, fits in _FITS.items()
        if isinstance(module, kind) and not fits(module)
    ]


def counted_macs(model, inputs):
    """Multiply-accumulates per sample, by PyTorch's own counter."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    macs, rest = divmod(counter.get_total_flops(), 2 * len(inputs[0]))
    assert rest == 0
    return macs
