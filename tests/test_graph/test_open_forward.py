"""Attention modules with open sizes compute what the originals do."""

import copy
import itertools
import pickle

import pytest
import torch
import zoo
from torch import nn

import mmdhp
from mmdhp.graph.open_forward import install, open_forward

OPTIONS = [
    {},
    {'bias': False},
    {'add_bias_kv': True},
    {'add_zero_attn': True},
    {'kdim': 6, 'vdim': 5},
]


def pair(**options):
    torch.manual_seed(0)
    original = nn.MultiheadAttention(8, 2, **options).eval()
    for parameter in original.parameters():
        nn.init.normal_(parameter)
    opened = copy.deepcopy(original)
    install(opened)
    return original, opened


def masks(batch, length):
    positions = [
        None,
        torch.randn(length, length),
        torch.randn(batch * 2, length, length),
    ]
    keys = [None, torch.zeros(batch, length)]
    keys[1][0, -1] = float('-inf')
    return itertools.product(positions, keys)


@pytest.mark.parametrize('first', [False, True])
@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_multihead_attention(options, first):
    original, opened = pair(batch_first=first, **options)
    query = torch.randn(3, 4, 8)
    key = torch.randn(3, 4, options.get('kdim', 8))
    value = torch.randn(3, 4, options.get('vdim', 8))
    batch, length = (3, 4) if first else (4, 3)
    for (mask, padding), weights, average in itertools.product(
        masks(batch, length), (True, False), (True, False)
    ):
        arguments = dict(
            attn_mask=mask,
            key_padding_mask=padding,
            need_weights=weights,
            average_attn_weights=average,
        )
        expected = original(query, key, value, **arguments)
        found = opened(query, key, value, **arguments)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        opened(query[0], key[0], value[0]),
        original(query[0], key[0], value[0]),
    )


def test_a_mask_of_bools():
    original, opened = pair(batch_first=True)
    x = torch.randn(2, 5, 8)
    mask = torch.ones(5, 5).triu(1).bool()
    for weights in (True, False):
        expected = original(x, x, x, attn_mask=mask, need_weights=weights)
        found = opened(x, x, x, attn_mask=mask, need_weights=weights)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def encoder():
    layer = nn.TransformerEncoderLayer(8, 4, 12, batch_first=True)
    return zoo.randomised(nn.TransformerEncoder(layer, 2)).eval()


def test_a_transformer_loses_heads():
    model, x = encoder(), torch.randn(2, 7, 8)
    graph = mmdhp.trace(model, x)
    assert [group.size for group in graph.groups] == [4, 12, 4, 12]
    keep = graph.random_keep(0.5)
    assert mmdhp.verify(model, graph, keep, x, relative=True) < 1e-5
    for module in model.modules():
        assert 'forward' not in vars(module)
    expected = copy.deepcopy(model)
    mmdhp.shrink(model, graph, keep)
    attention = model.layers[0].self_attn
    assert attention.num_heads == 2
    assert attention.in_proj_weight.shape == (3 * 2 * 2, 8)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        own = twin.layers[0].self_attn
        assert own.forward.args[0] is own
        torch.testing.assert_close(twin(x), model(x))
    mmdhp.rebuild(expected, model.state_dict())
    torch.testing.assert_close(expected(x), model(x), rtol=0, atol=0)


def test_windows_of_swin():
    attention = pytest.importorskip('mmpretrain.models.utils.attention')
    torch.manual_seed(0)
    original = attention.WindowMSA(12, (3, 2), 3).eval()
    zoo.randomised(original)
    opened = copy.deepcopy(original)
    install(opened)
    x, mask = torch.randn(4, 6, 12), torch.randn(2, 6, 6)
    torch.testing.assert_close(opened(x), original(x))
    torch.testing.assert_close(opened(x, mask), original(x, mask))

    model = nn.Sequential(nn.Linear(5, 12), original, nn.Linear(12, 4))
    x = torch.randn(4, 6, 5)
    graph = mmdhp.trace(model, x)
    assert {g.name: g.size for g in graph.groups}['1.qkv'] == 3
    keep = graph.random_keep(0.5)
    assert mmdhp.verify(model, graph, keep, x, relative=True) < 1e-5


def test_other_modules_have_none():
    assert open_forward(nn.Linear(3, 4)) is None
    lookalike = type('WindowMSA', (nn.Module,), {'forward': len})()
    assert open_forward(lookalike) is None


def test_a_forward_of_its_own_is_respected():
    class Scaled(nn.MultiheadAttention):
        def forward(self, query, key, value):
            return 2 * super().forward(query, key, value)[0]

    class Renamed(nn.MultiheadAttention):
        pass

    assert open_forward(Scaled(8, 2)) is None
    assert open_forward(Renamed(8, 2)) is open_forward(
        nn.MultiheadAttention(8, 2)
    )
