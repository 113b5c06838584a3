"""Groups and pruned models beside those of Torch-Pruning.

Torch-Pruning follows autograd's graph and knows layers by their type, so it
shares neither code nor method with ours. Where the two disagree, a table says
why, and ours is proved on the function.
"""

import fnmatch
import warnings

import numpy as np
import pytest
import torch
import zoo
from torch import nn
from torch.utils._pytree import tree_leaves

import mmdhp
from mmdhp.graph import FrozenGroup

tp = pytest.importorskip('torch_pruning')

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
TOLERANCE = 1e-4  # relative; measured: below 1e-6

GROUPED = 'of a grouped conv it cuts the last inputs, whichever are meant'
PIECES = 'it numbers the pieces of a split tensor as the whole, or cuts all'
SUBPIXEL = 'it numbers what leaves a pixel shuffle as what enters it'
SHUFFLED = 'it takes permuted channels for channels in order'
PADDED = 'it takes padded channels for channels in order'
TWICE = 'it knows one place per tensor in a concatenation'
BROADCAST = 'it takes an operand of other width for one channel by channel'
RAW = 'it cuts the last axis of a raw parameter, whatever it holds'
HEADS = 'it must be told the number of heads'
HIDDEN = 'layers whose parameters other code reads are not in its graph'

# Prunable groups, by name and pattern, that it would cut in another way.
DIFFERENT = {
    'Concat': ('[ab]', TWICE),
    'Depthwise': ('mid', GROUPED),
    'GroupedWhole': ('stem', GROUPED),
    'GroupedByPosition': ('stem', GROUPED),
    'SubPixel': ('up', SUBPIXEL),
    'SubPixelFunctional': ('up', SUBPIXEL),
    'SubPixelView': ('up', SUBPIXEL),
    'ConcatSubPixel': ('*', SUBPIXEL),
    'PixelUnshuffle': ('stem', SUBPIXEL),
    'ChannelShuffle': ('stem', SHUFFLED),
    'ChannelShuffleModule': ('stem', SHUFFLED),
    'SpelledSplit': ('stem', SHUFFLED),
    'Rolled': ('stem', SHUFFLED),
    'Chunk': ('*', PIECES),
    'GatedHalves': ('stem', PIECES),
    'TransposedGrouped': ('[sf]*', GROUPED),
    'RawParameter': ('*', RAW),
    'Einsum': ('*', RAW),
    'MultiheadAttention': ('[as]*', HIDDEN),
    'WeightStandardised': ('mid', HIDDEN),
    'WeightBatchNormed': ('mid', HIDDEN),
    'PaddedChannels': ('stem', PADDED),
    'SingleChannel': ('stem', BROADCAST),
    'Warped': ('stem', BROADCAST),
    'regnet_y_400mf': ('trunk_output.*.f.a.0', GROUPED),
    'CSPDarkNet': ('stages.?.[ae]*_conv.conv', PIECES),
    'VisionTransformer': ('layers.*.attn.qkv', HEADS),
}

WIDTH = 'it cuts an axis whose width the code or an input fixes'
MIXED = 'it cuts channels that are normalised together'
SPLIT = 'it cuts whole heads, or pieces, whose number the code fixes'
UNKNOWN = 'it takes operators that it does not know for channel by channel'
BUFFER = 'it does not follow buffers'

# What it would cut and we freeze: reason codes beside that of outputs.
KEPT = {
    'SideBySide': ({'fixed-width'}, WIDTH),
    'GroupedFunctional': ({'fixed-groups'}, WIDTH),
    'ShuffledGroups': ({'split'}, SPLIT),
    'LiteralSplit': ({'sliced'}, WIDTH),
    'TransposedGrouped': ({'inside-group'}, GROUPED),
    'GroupNorm': ({'fixed-groups', 'mixed'}, MIXED),
    'LayerNorm': ({'mixed'}, MIXED),
    'UnsavedBuffer': ({'not-saved'}, BUFFER),
    'Attention': ({'literal'}, SPLIT),
    'AttentionFused': ({'literal'}, SPLIT),
    'AttentionBiased': ({'fixed-width'}, WIDTH),
    'Rolled': ({'sliced'}, SHUFFLED),
    'PaddedChannels': ({'fixed-width'}, PADDED),
    'Reductions': ({'mixed'}, MIXED),
    'UnknownOperator': ({'unknown-operator'}, UNKNOWN),
    'SingleChannel': ({'single'}, BROADCAST),
    'WeightStandardised': ({'mixed'}, MIXED),
    'WeightBatchNormed': ({'mixed'}, MIXED),
    'FixedSummand': ({'fixed-width'}, WIDTH),
    'PooledChannels': ({'spatial'}, WIDTH),
    'ConvolvedChannels': ({'spatial'}, WIDTH),
    'ChunkBesideFixed': ({'fixed-width'}, WIDTH),
    'convnext_tiny': ({'mixed'}, MIXED),
    'VisionTransformer': ({'mixed'}, MIXED),
}

# What the errors say with which it gives up.
UNTRACEABLE = {
    'CompiledBypass': 'conv2d',
    'CompiledBypassAllocates': 'conv2d',
    'BypassedLayer': 'conv2d',
    'MultiOutput': 'NoneType',
    'shufflenet_v2_x0_5': 'by zero',
}

# Groups agree, but what it leaves does not run.
UNFINISHED = {'GroupNorm': 'it leaves `num_groups` as it is'}


def hrnet(*widths):
    """Stages of a shallow HRNet: one branch more in each."""
    return {
        f'stage{number}': dict(
            num_modules=1,
            num_branches=number,
            block='BASIC',
            num_blocks=(1,) * number,
            num_channels=widths[:number],
        )
        for number in range(1, len(widths) + 1)
    }


TORCHVISION = [
    'resnet18',
    'resnet50',
    'alexnet',
    'densenet121',
    'mobilenet_v2',
    'mobilenet_v3_small',
    'efficientnet_b0',
    'regnet_y_400mf',
    'convnext_tiny',
]
MMPRETRAIN = {
    'ResNet': dict(depth=50),
    'HRNet': dict(extra=hrnet(9, 15, 21, 33)),
    'VGG': dict(depth=16, norm_cfg=dict(type='BN')),
    'RepVGG': dict(arch='A0'),
    'VisionTransformer': dict(arch='deit-t', img_size=64),
    'CSPDarkNet': dict(depth=53),
}


def dependency_graph(model, inputs):
    """Their graph of a model."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # raw parameters
        graph = tp.DependencyGraph()
        return graph.build_dependency(model, inputs)


class Pair:
    """One model, their graph and ours."""

    def __init__(self, model, inputs):
        self.model, self.inputs = model, inputs
        self.ours = mmdhp.trace(model, inputs)
        self.theirs = dependency_graph(model, inputs)
        self.names = {
            id(tensor): name
            for named in (model.named_parameters, model.named_buffers)
            for name, tensor in named()
        }
        self.outputs = {
            layer: self._outputs(layer)
            for layer in model.modules()
            if isinstance(layer, LAYERS)
        }

    def _outputs(self, layer):
        """Unit of every output of a layer."""
        key = (self.names[id(layer.weight)], output_axis(layer))
        return self.ours.axis_units.get(key, np.empty(0, int))

    def group(self, layer, positions):
        """Their group of some outputs of a layer."""
        kind = 'linear' if isinstance(layer, nn.Linear) else 'conv'
        prune = getattr(tp, f'prune_{kind}_out_channels')
        return self.theirs.get_pruning_group(layer, prune, positions)

    def their_cut(self, group):
        """What a group cuts, as (tensor, axis, position)."""
        return {
            (self.names[id(tensor)], axis, position)
            for dep, positions in group
            for tensor, axis in self.their_axes(dep)
            for position in positions
        }

    def their_axes(self, dep):
        """Tensors, and their axes, that an entry of their groups cuts."""
        target = dep.target.module
        if isinstance(target, nn.Parameter):
            return [(target, dep.target.pruning_dim)]
        if not isinstance(target, LAYERS):
            tensors = [*target.parameters(False), *target.buffers(False)]
            return [(t, 0) for t in tensors if t.numel() > 1]
        axis = output_axis(target)
        if not self.theirs.is_out_channel_pruning_fn(dep.handler):
            return [(target.weight, 1 - axis)]
        bias = [] if target.bias is None else [(target.bias, 0)]
        return [(target.weight, axis), *bias]

    def our_cut(self, group, units):
        """What some units of a group cut, as (tensor, axis, position)."""
        return {
            (member.name, member.axis, position)
            for member in group.members
            for unit in units
            for position in member.indices[unit - group.start]
        }

    def disagrees(self, group, unit):
        """Whether they cut anything else, from any producer of a unit."""
        ours = self.our_cut(group, [unit])
        producers = [m for m, own in self.outputs.items() if unit in own]
        for layer in producers:
            if layer not in self.theirs.module2node:
                return True
            positions = np.flatnonzero(self.outputs[layer] == unit).tolist()
            if self.their_cut(self.group(layer, positions)) != ours:
                return True
        return not producers

    def differing(self, everything):
        """Names of groups that are others for them, by all units or one."""
        return {
            group.name
            for group in self.ours.groups
            for unit in range(group.start, group.stop)
            if everything or unit == group.start + group.size // 3
            if self.disagrees(group, unit)
        }

    def prune_as(self, keep):
        """Let them prune the model by our mask, in place."""
        gone = {unit for unit, kept in enumerate(keep.tolist()) if not kept}
        done = set()
        for layer, units in self.outputs.items():
            now = [unit for unit in units.tolist() if unit not in done]
            positions = [i for i, unit in enumerate(now) if unit in gone]
            if positions:
                self.group(layer, positions).prune()
                done |= gone & set(now)


def output_axis(layer):
    return int(getattr(layer, 'transposed', False))


def built(name):
    """A named model and its inputs, the same whenever asked."""
    torch.manual_seed(0)
    if name in zoo.ZOO:
        return zoo.build(name)
    if name in MMPRETRAIN:
        registry = pytest.importorskip('mmpretrain.registry')
        pytest.importorskip('mmpretrain.models')
        config = dict(type=name, **MMPRETRAIN[name])
        model = registry.MODELS.build(config)
    else:
        models = pytest.importorskip('torchvision.models')
        model = getattr(models, name)()
    return zoo.randomised(model), (torch.randn(2, 3, 64, 64),)


def matching(graph, name):
    """Groups that the table says are different."""
    pattern, _ = DIFFERENT.get(name, ('', ''))
    return {g.name for g in graph.groups if fnmatch.fnmatch(g.name, pattern)}


OWN = [n for n, net in zoo.ZOO.items() if not hasattr(net, 'unlike_peers')]
TRACEABLE = [
    name
    for name in (*OWN, *TORCHVISION, *MMPRETRAIN)
    if name not in UNTRACEABLE
]
AGREEING = [
    name
    for name in TRACEABLE
    if name not in DIFFERENT and name not in UNFINISHED
]


@pytest.fixture(scope='module')
def pairs():
    """Pairs by name, made once; one that will be changed is let go."""
    made = {}

    def pair(name, final=False):
        if name not in made:
            made[name] = Pair(*built(name))
        return made.pop(name) if final else made[name]

    return pair


@pytest.mark.parametrize('name', TRACEABLE)
def test_prunable_groups_are_the_same(pairs, name):
    pair = pairs(name)
    found = pair.differing(everything=name in zoo.ZOO)
    assert found == matching(pair.ours, name)


@pytest.mark.parametrize('name', TRACEABLE)
def test_what_they_prune_is_a_group_or_frozen(pairs, name):
    pair = pairs(name)
    different = matching(pair.ours, name)
    codes = set()
    for theirs in pair.theirs.get_all_groups():
        units = set(pair.outputs[theirs[0].dep.target.module].tolist())
        owned = [
            (group, units & set(range(group.start, group.stop)))
            for group in (*pair.ours.groups, *pair.ours.frozen)
        ]
        owners = [group for group, own in owned if own]
        frozen = [group for group in owners if isinstance(group, FrozenGroup)]
        assert owners
        assert all(group.reason for group in frozen)
        codes |= {group.code for group in frozen}
        if not frozen and not different & {group.name for group in owners}:
            ours = [pair.our_cut(group, own) for group, own in owned if own]
            assert pair.their_cut(theirs) == set().union(*ours)
    expected, _ = KEPT.get(name, (set(), ''))
    assert codes - {'output'} == expected


@pytest.mark.parametrize('name', DIFFERENT)
def test_where_we_disagree_ours_is_exact(pairs, name):
    pair = pairs(name)
    random = pair.ours.random_keep(0.6)
    keep = pair.ours.full()
    for group in pair.ours.groups:
        if group.name in matching(pair.ours, name):
            own = slice(group.start, group.stop)
            keep[own] = random[own]
    assert not keep.all()
    gap = mmdhp.verify(pair.model, pair.ours, keep, pair.inputs, relative=True)
    assert gap <= TOLERANCE


@pytest.mark.parametrize('name', UNTRACEABLE)
def test_models_that_they_cannot_trace(name):
    model, inputs = built(name)
    assert mmdhp.trace(model, inputs).groups
    with pytest.raises(Exception, match=UNTRACEABLE[name]):
        dependency_graph(model, inputs)


@pytest.mark.parametrize('name', AGREEING)
def test_pruned_models_compute_the_same(pairs, name):
    pair = pairs(name, final=True)
    keep = pair.ours.random_keep(0.6, seed=1)
    model, _ = built(name)
    mmdhp.shrink(model, pair.ours, keep)
    pair.prune_as(keep)
    with torch.no_grad():
        found = tree_leaves(model(*pair.inputs))
        expected = tree_leaves(pair.model(*pair.inputs))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(model.state_dict(), pair.model.state_dict())
