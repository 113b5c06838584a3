import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from torch import nn

from mmdhp.models import DnCNN
from mmdhp.models.upsample import upsampler
from mmdhp.registry import MODELS, PRUNERS

# Small enough to differentiate; every size differs from the others.
SMALL = {
    'SRResNet': dict(
        type='mmdhp.SRResNet', out_channels=4, mid_channels=7, num_blocks=2
    ),
    'EDSR': dict(
        type='mmdhp.EDSR', mid_channels=7, num_blocks=2, upscale_factor=3
    ),
    'DnCNN': dict(type='mmdhp.DnCNN', mid_channels=7, num_blocks=2),
    'UNet': dict(type='mmdhp.UNet', base_channels=5, num_levels=3),
    'basic': dict(type='mmdhp.CIFARResNet', depth=14, width=0.5),
    'bottleneck': dict(type='mmdhp.CIFARResNet', depth=65, width=0.25),
}


def build(cfg):
    torch.manual_seed(0)
    model = ROOT_MODELS.build(cfg)
    model.init_weights()
    return model


def num_params(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('SRResNet', 1_535_638),
        ('EDSR', 3_696_667),
        ('DnCNN', 557_057),
        ('UNet', 7_759_521),
    ],
)
def test_restoration_sizes_are_the_papers(name, expected):
    assert num_params(build(dict(type=f'mmdhp.{name}'))) == expected


@pytest.mark.parametrize(
    ('depth', 'features', 'expected'),
    [
        (20, 64, 272_474),
        (56, 64, 855_770),
        (110, 256, 1_147_738),
        (164, 256, 1_704_154),
    ],
)
def test_cifar_sizes_are_the_papers(depth, features, expected):
    backbone = build(dict(type='mmdhp.CIFARResNet', depth=depth))

    assert num_params(backbone) + num_params(nn.Linear(features, 10)) == (
        expected
    )


@pytest.mark.parametrize(
    ('name', 'in_shape', 'out_shape'),
    [
        ('SRResNet', (2, 3, 5, 9), (2, 4, 20, 36)),
        ('EDSR', (2, 3, 5, 9), (2, 3, 15, 27)),
        ('DnCNN', (2, 1, 5, 9), (2, 1, 5, 9)),
        ('UNet', (2, 1, 8, 12), (2, 1, 8, 12)),
    ],
)
def test_restoration_shapes(name, in_shape, out_shape):
    assert build(SMALL[name])(torch.rand(in_shape)).shape == out_shape


def test_cifar_stages():
    cfg = dict(SMALL['bottleneck'], out_indices=(0, 1, 2))

    outs = build(cfg)(torch.rand(2, 3, 13, 21))

    assert [tuple(out.shape) for out in outs] == [
        (2, 16, 13, 21),
        (2, 32, 7, 11),
        (2, 64, 4, 6),
    ]


@pytest.mark.parametrize('name', SMALL)
def test_gradient_reaches_every_trainable_parameter(name):
    model = build(SMALL[name])
    channels = 1 if name in ('DnCNN', 'UNet') else 3

    outs = model(torch.rand(3, channels, 12, 16))
    out = outs[-1] if isinstance(outs, tuple) else outs
    (out * torch.rand_like(out)).sum().backward()

    assert {
        key: parameter.grad is not None and bool(parameter.grad.any())
        for key, parameter in model.named_parameters()
    } == {
        key: parameter.requires_grad
        for key, parameter in model.named_parameters()
    }


@pytest.mark.parametrize('name', ['SRResNet', 'EDSR'])
def test_super_resolution_skips_its_body(name):
    model = build(SMALL[name])
    last = model.body[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 0.25)
    shallow, joined = [], []
    model.head.register_forward_hook(lambda *call: shallow.append(call[2]))
    model.upsampler.register_forward_pre_hook(
        lambda module, args: joined.extend(args)
    )

    model(torch.rand(2, 3, 5, 7))

    torch.testing.assert_close(joined[0], shallow[0] + 0.25)


def test_edsr_freezes_the_mean_colour():
    model = build(SMALL['EDSR'])

    assert {
        key.split('.')[0]
        for key, parameter in model.named_parameters()
        if not parameter.requires_grad
    } == {'sub_mean', 'add_mean'}


def test_edsr_removes_and_restores_the_mean_colour():
    mean = (0.25, 0.5, 0.75)
    init_cfg = dict(type='Constant', layer='Conv2d', val=0.0, bias=0.0)
    model = build(
        dict(SMALL['EDSR'], rgb_mean=mean, rgb_range=200.0, init_cfg=init_cfg)
    )
    colour = 200 * torch.tensor(mean).view(1, 3, 1, 1)
    images = torch.rand(2, 3, 5, 7)

    torch.testing.assert_close(model.sub_mean(images), images - colour)
    torch.testing.assert_close(model(images), colour.expand(2, 3, 15, 21))


def test_edsr_scales_its_residuals():
    cfg = dict(SMALL['EDSR'], num_blocks=1)
    block = build(dict(cfg, res_scale=0.5)).body[0]
    plain = build(cfg).body[0]
    features = torch.randn(2, 7, 5, 3)

    torch.testing.assert_close(
        block(features) - features, (plain(features) - features) / 2
    )


def test_dncnn_adds_its_input():
    model = DnCNN(in_channels=2, mid_channels=5, num_blocks=1)
    nn.init.zeros_(model.tail.weight)
    nn.init.constant_(model.tail.bias, 0.25)
    images = torch.rand(3, 2, 5, 7)

    torch.testing.assert_close(model(images), images + 0.25)


def test_unet_takes_its_skips_before_the_pooling():
    model = build(SMALL['UNet'])
    skips, joined = [], []
    for encoder in model.encoders:
        encoder.register_forward_hook(lambda *call: skips.append(call[2]))
    for decoder in model.decoders:
        decoder.register_forward_pre_hook(lambda *call: joined.append(call[1]))

    model(torch.rand(2, 1, 8, 12))

    assert [tuple(x.shape) for x in skips] == [
        (2, 5, 8, 12),
        (2, 10, 4, 6),
        (2, 20, 2, 3),
    ]
    assert joined[0][0] is skips[2]
    assert [skip for _, skip in joined][0] is skips[1]
    assert [skip for _, skip in joined][1] is skips[0]


def test_unet_puts_upsampled_features_in_front_of_skipped_ones():
    decoder = build(SMALL['UNet']).decoders[1]
    merged = []
    decoder.convs.register_forward_pre_hook(
        lambda *call: merged.extend(call[1])
    )
    x, skip = torch.rand(2, 10, 3, 4), torch.rand(2, 5, 6, 8)

    decoder(x, skip)

    torch.testing.assert_close(merged[0][:, :5], decoder.up(x))
    torch.testing.assert_close(merged[0][:, 5:], skip)


def test_unet_fills_up_sizes_that_it_cannot_halve():
    model = build(SMALL['UNet'])
    images = torch.rand(2, 1, 7, 9)
    rows = [*range(7), 6]
    columns = [*range(9), 8, 8, 8]
    filled = images[:, :, rows][..., columns]

    torch.testing.assert_close(model(images), model(filled)[..., :7, :9])
    with pytest.raises(ValueError, match='num_levels is 1'):
        MODELS.build(dict(type='mmdhp.UNet', num_levels=1))


def test_wide_network_has_wide_layers():
    narrow = build(dict(type='mmdhp.CIFARResNet', depth=8))
    wide = build(dict(type='mmdhp.CIFARResNet', depth=8, width=2))

    ratios = [
        theirs.numel() / ours.numel()
        for ours, theirs in zip(narrow.parameters(), wide.parameters())
        if ours.dim() == 4
    ]

    assert ratios == [2, *[4] * (len(ratios) - 1)]


@pytest.mark.parametrize('depth', [2, 21, 58, 111])
def test_unknown_depth(depth):
    with pytest.raises(ValueError, match=f'depth is {depth}'):
        MODELS.build(dict(type='mmdhp.CIFARResNet', depth=depth))


def test_unknown_stage():
    with pytest.raises(ValueError, match=r'out_indices is \(3,\)'):
        MODELS.build(
            dict(type='mmdhp.CIFARResNet', depth=20, out_indices=(3,))
        )


def test_wrong_mean_colour():
    with pytest.raises(ValueError, match='rgb_mean has 1 values'):
        MODELS.build(dict(type='mmdhp.EDSR', rgb_mean=(0.5,)))


def test_wrong_upscale_factor():
    with pytest.raises(ValueError, match='factor is 0'):
        upsampler(4, 0)


def test_pruners_build_in_their_own_scope(monkeypatch):
    class Stub:
        def __init__(self, ratio):
            self.ratio = ratio
            self.scope = DefaultScope.get_current_instance().scope_name

    monkeypatch.setitem(PRUNERS.module_dict, 'Stub', Stub)
    monkeypatch.setattr(PRUNERS, '_imported', True)

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        pruner = PRUNERS.build(dict(type='mmdhp.Stub', ratio=0.4))

    assert (pruner.ratio, pruner.scope) == (0.4, 'mmdhp')
