"""Models that people use."""

import copy

import pytest
import torch
import zoo

import mmdhp

TOLERANCE = 1e-4  # relative; measured: below 1e-6


def shrunk(model, shape=(2, 3, 64, 64), forward=None):
    """Prune a randomised model, verified, with attributes that fit."""
    zoo.randomised(model)
    x = torch.randn(shape)
    graph = mmdhp.trace(model, x, forward=forward)
    original = copy.deepcopy(model)
    for ratio in (0.4, 0.75):
        keep = graph.random_keep(ratio)
        gap = mmdhp.verify(
            model, graph, keep, x, forward=forward, relative=True
        )
        assert gap <= TOLERANCE
    mmdhp.shrink(model, graph, keep)
    assert zoo.misfits(model) == []
    assert graph.params(keep) == sum(p.numel() for p in model.parameters())
    assert graph.params(keep) < graph.params()
    mmdhp.rebuild(original, model.state_dict())
    assert str(original) == str(model)
    return model, graph


@pytest.mark.parametrize(
    ('name', 'groups', 'reasons'),
    [
        ('resnet18', 12, {'output', 'fixed-width'}),
        ('mobilenet_v2', 25, {'output', 'fixed-width', 'single'}),
        ('densenet121', 120, {'output', 'fixed-width'}),
        ('shufflenet_v2_x1_0', 19, None),
    ],
)
def test_torchvision(name, groups, reasons):
    models = pytest.importorskip('torchvision.models')
    _, graph = shrunk(getattr(models, name)())
    assert len(graph.groups) == groups
    if reasons:
        assert {group.code for group in graph.frozen} == reasons


@pytest.fixture
def mmpretrain():
    pytest.importorskip('mmpretrain.models')
    from mmpretrain.registry import MODELS

    return MODELS


@pytest.mark.parametrize(('depth', 'groups'), [(18, 11), (50, 36)])
def test_mmpretrain_resnet(mmpretrain, depth, groups):
    model = mmpretrain.build(dict(type='ResNet', depth=depth))
    model, graph = shrunk(model)
    assert len(graph.groups) == groups
    for layer in (model.layer1, model.layer3):
        for block in layer:
            assert block.in_channels == block.conv1.in_channels
            assert block.mid_channels == block.conv1.out_channels
            last = block.conv2 if depth == 18 else block.conv3
            assert block.out_channels == last.out_channels


def test_mmpretrain_mobilenet(mmpretrain):
    model, graph = shrunk(mmpretrain.build(dict(type='MobileNetV2')))
    module = model.layer2[0].conv[1]
    assert module.groups == module.conv.groups == module.conv.in_channels
    assert module.in_channels == module.conv.in_channels < 96
    assert module.out_channels == module.conv.out_channels
    assert len(graph.groups) == 24


def test_sizes_that_modules_hold_follow_the_cut(mmpretrain):
    model = mmpretrain.build(
        dict(type='Res2Net', depth=50, scales=4, base_width=26)
    )
    model, graph = shrunk(model)
    assert len(graph.groups) == 46
    block = model.layer1[0]
    assert block.width == block.convs[0].in_channels < 26


def test_a_vision_transformer_loses_heads_and_inner_widths(mmpretrain):
    model = mmpretrain.build(
        dict(type='VisionTransformer', arch='deit-t', img_size=48)
    )
    model, graph = shrunk(model, (2, 3, 48, 48))
    assert {group.name.split('.', 2)[2] for group in graph.groups} == {
        'ffn.layers.0.0',
        'attn.qkv',
    }
    attention = model.layers[0].attn
    assert attention.num_heads == 2
    assert attention.qkv.out_features == 3 * 2 * attention.head_dims
    assert attention.embed_dims == attention.proj.in_features


@pytest.fixture
def mmagic():
    pytest.importorskip('mmengine')
    from mmdhp import compat

    pytest.importorskip('mmagic.version')
    compat.install()
    from mmagic.registry import MODELS

    return MODELS


def test_mmagic_srresnet(mmagic):
    from mmagic.models.editors.srgan import MSRResNet

    net = MSRResNet(3, 3, mid_channels=16, num_blocks=3, upscale_factor=4)
    model, graph = shrunk(net, (2, 3, 9, 7))
    pack = model.upsample1
    assert pack.upsample_conv.in_channels == pack.in_channels
    assert pack.upsample_conv.out_channels == 4 * pack.out_channels
    assert pack.out_channels == model.upsample2.in_channels
    assert len(graph.groups) == 7


def test_mmagic_edsr(mmagic):
    from mmagic.models.editors.edsr import EDSRNet

    net = EDSRNet(3, 3, mid_channels=16, num_blocks=3, upscale_factor=4)
    mean = net.mean
    model, graph = shrunk(net, (2, 3, 9, 7))
    assert type(mean) is torch.Tensor
    assert len(graph.groups) == 6
