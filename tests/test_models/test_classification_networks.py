"""Sizes, groups and gradients of the classification networks."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import mmdhp

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
pytest.importorskip('mmpretrain')

V1, V2 = 'mobilenet_v1/mobilenetv1', 'mobilenet_v2/mobilenetv2'
TINY_V2 = (1, 1, 2, 2, 1, 2, 1)
# Small enough to differentiate; every size differs from the others.
SMALL = {
    'densenet': dict(type='mmdhp.CIFARDenseNet', depth=10, growth_rate=5),
    'densenet_bc': dict(
        type='mmdhp.CIFARDenseNet',
        depth=16,
        growth_rate=5,
        reduction=0.6,
        bottleneck=True,
    ),
    'mobilenet_v1': dict(type='mmdhp.MobileNetV1', widen_factor=0.25),
    'mobilenet_v2': dict(
        type='mmdhp.MobileNetV2', strides=TINY_V2, widen_factor=0.25
    ),
}


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg)
    model.init_weights()
    return model


def classifier(name, **backbone):
    model = Config.fromfile(CONFIGS / f'{name}.py').model
    model.backbone.update(backbone)
    return build(model)


def num_params(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_plain_densenet_has_the_size_of_its_paper():
    backbone = build(dict(type='mmdhp.CIFARDenseNet', stem_channels=16))

    # Huang et al. print 1.0 M, with a stem of 16 channels.
    assert num_params(backbone) + 448 * 10 + 10 == 1_019_722


@pytest.mark.parametrize(
    ('name', 'size', 'gigamacs', 'params', 'groups'),
    [
        # Counted by hand from the layers: no paper prints them.
        ('densenet_cifar/densenet40_cifar10', 32, 0.287710, 1_059_298, 39),
        # Measured with the published code of DHP, BN counted. Its latent
        # vectors are our groups, the image and a scalar for each depthwise
        # conv.
        (f'{V1}_tiny_imagenet', 64, 0.047372, 3_411_976, 28 - 1 - 13),
        (f'{V1}_w2_tiny_imagenet', 64, 0.182825, 13_102_920, 28 - 1 - 13),
        (f'{V2}_tiny_imagenet', 64, 0.091500, 2_480_072, 43 - 1 - 17),
        (f'{V2}_w2_tiny_imagenet', 64, 0.345397, 9_209_288, 43 - 1 - 17),
        ('resnet_cifar/resnet20_cifar10', 32, 0.041215, 272_474, 13 - 1),
        ('resnet_cifar/resnet56_cifar10', 32, 0.126837, 855_770, 31 - 1),
        ('resnet_cifar/resnet110_cifar10', 32, 0.171895, 1_147_738, 77 - 1),
        ('resnet_cifar/resnet164_cifar10', 32, 0.254176, 1_704_154, 113 - 1),
        # HSN's code has about 304 M; the paper does not say.
        (f'{V2}_cifar10', 32, 0.304972, 2_236_682, 25),
    ],
)
def test_sizes_and_groups_are_the_papers(name, size, gigamacs, params, groups):
    model = classifier(name)
    graph = mmdhp.trace(model, torch.zeros(2, 3, size, size))
    macs = float(graph.macs(kinds=('weight', 'norm')))

    assert num_params(model) == params
    assert graph.params() == params
    assert round(macs / 1e9, 6) == gigamacs
    assert len(graph.groups) == groups
    assert not graph.unused


def test_dense_layers_share_what_they_concatenate():
    model = build(SMALL['densenet'])
    graph = mmdhp.trace(model, torch.zeros(2, 3, 12, 20))
    units = graph.axis_units
    stem = units['stem.weight', 0]
    first = units['blocks.0.0.layers.0.2.weight', 0]
    second = units['blocks.0.1.layers.0.2.weight', 0]

    assert tuple(units['blocks.0.0.layers.0.2.weight', 1]) == tuple(stem)
    assert tuple(units['blocks.0.1.layers.0.2.weight', 1]) == (
        *stem,
        *first,
    )
    assert tuple(units['transitions.0.0.2.weight', 1]) == (
        *stem,
        *first,
        *second,
    )


def test_stages_of_mobilenet_v2_have_one_group_each():
    model = build(SMALL['mobilenet_v2'])
    graph = mmdhp.trace(model, torch.zeros(2, 3, 48, 80))
    for stage, (_, _, repeats, _) in enumerate(model.arch_settings, 1):
        outputs = {
            tuple(
                graph.axis_units[
                    f'layer{stage}.{block}.conv.{2 if stage > 1 else 1}'
                    '.conv.weight',
                    0,
                ]
            )
            for block in range(repeats)
        }
        assert len(outputs) == 1


@pytest.mark.parametrize(
    ('name', 'in_shape', 'out_shape'),
    [
        ('densenet', (2, 3, 12, 20), (2, 40, 3, 5)),
        # 10 + 2 * 5 = 20 -> 12; 12 + 10 = 22 -> 13; 13 + 10 = 23
        ('densenet_bc', (2, 3, 12, 20), (2, 23, 3, 5)),
        ('mobilenet_v1', (2, 3, 64, 96), (2, 256, 2, 3)),
        ('mobilenet_v2', (2, 3, 64, 96), (2, 1280, 4, 6)),
    ],
)
def test_shapes(name, in_shape, out_shape):
    (out,) = build(SMALL[name])(torch.rand(in_shape))

    assert out.shape == out_shape


@pytest.mark.parametrize('name', SMALL)
def test_gradient_reaches_every_parameter(name):
    model = build(SMALL[name])

    (out,) = model(torch.rand(3, 3, 44, 52))
    (out * torch.rand_like(out)).sum().backward()

    assert [
        key
        for key, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ] == []


def test_mobilenet_v2_is_upstreams():
    from mmpretrain.models import MobileNetV2

    ours, theirs = build(dict(type='mmdhp.MobileNetV2')), MobileNetV2()
    ours.load_state_dict(theirs.state_dict())
    ours.eval(), theirs.eval()
    images = torch.rand(2, 3, 33, 65)

    assert isinstance(ours, MobileNetV2)
    torch.testing.assert_close(ours(images), theirs(images))


def test_mobilenet_v2_takes_activation_and_initialisation():
    init_cfg = dict(type='Constant', layer='Conv2d', val=0.5)
    cfg = dict(SMALL['mobilenet_v2'], act_cfg=dict(type='ReLU'))
    model = build(dict(cfg, init_cfg=init_cfg))

    assert 'ReLU6' not in str(model)
    assert model.init_cfg == init_cfg


def test_strides_of_small_images():
    cfg = dict(SMALL['mobilenet_v1'], stem_stride=1, out_indices=(0, 2))
    assert [out.shape[2:] for out in build(cfg)(torch.rand(2, 3, 8, 12))] == [
        (8, 12),
        (4, 6),
    ]


def test_pooling_drops_features_in_training_only():
    neck = MODELS.build(dict(type='mmdhp.PoolingDropout', dropout=0.5))
    features = torch.rand(2, 700, 3, 5) + 1
    means = features.mean((2, 3))

    (out,) = neck((features,))
    kept = out != 0
    (plain,) = neck.eval()((features,))

    assert 0.4 < kept.float().mean() < 0.6
    torch.testing.assert_close(out[kept], 2 * means[kept])
    torch.testing.assert_close(plain, means)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='mmdhp.CIFARDenseNet', depth=41), 'depth is 41'),
        (dict(type='mmdhp.CIFARDenseNet', depth=4), 'depth is 4,'),
        (
            dict(type='mmdhp.CIFARDenseNet', depth=43, bottleneck=True),
            'expected 6n',
        ),
        (dict(type='mmdhp.CIFARDenseNet', reduction=0), 'reduction is 0'),
        (
            dict(type='mmdhp.MobileNetV1', out_indices=(3, 13)),
            r'out_indices is \(3, 13\)',
        ),
        (dict(type='mmdhp.MobileNetV2', strides=(1, 2)), 'has 2 values'),
    ],
)
def test_impossible_networks(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)
