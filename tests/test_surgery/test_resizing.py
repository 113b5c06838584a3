"""Pruned checkpoints in freshly built architectures."""

import copy

import pytest
import torch
import zoo
from torch import nn

import mmdhp
from mmdhp import surgery


def pruned(name, ratio=0.6):
    model, inputs = zoo.build(name)
    graph = mmdhp.trace(model, inputs)
    mmdhp.shrink(model, graph, graph.random_keep(ratio, seed=1))
    return model, inputs


def fresh(name):
    return zoo.build(name, seed=7)[0]


def outputs(model, inputs):
    with torch.no_grad():
        leaves = torch.utils._pytree.tree_leaves(model(*inputs))
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def assert_equal(model, other, inputs):
    first, second = outputs(model, inputs), outputs(other, inputs)
    assert len(first) == len(second) > 0
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    assert zoo.misfits(other) == []
    assert str(other) == str(model)


# A plain tensor that is no buffer travels in no checkpoint.
SAVED = [name for name in zoo.ZOO if name != 'CachedTensor']


@pytest.mark.parametrize('name', SAVED)
def test_a_rebuilt_model_is_bit_equal(name):
    model, inputs = pruned(name)
    other = fresh(name)
    if name == 'UnsavedBuffer':
        other.shift = model.shift
    ids = [id(p) for p in other.parameters()]
    assert mmdhp.rebuild(other, model.state_dict()) is other
    assert_equal(model, other, inputs)
    assert [id(p) for p in other.parameters()] == ids


@pytest.mark.parametrize('name', ['Depthwise', 'GroupNorm', 'SharedWeight'])
def test_a_checkpoint_file_is_enough(name, tmp_path):
    model, inputs = pruned(name)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'pruned.pth')
    checkpoint = torch.load(tmp_path / 'pruned.pth', weights_only=True)
    assert_equal(model, mmdhp.rebuild(fresh(name), checkpoint), inputs)


@pytest.mark.parametrize('name', ['GroupedWhole', 'PReLU', 'Transposed'])
def test_load_state_dict_resizes(name):
    model, inputs = pruned(name)
    other = fresh(name)
    assert surgery.resize_on_load(other) is other
    other.load_state_dict(model.state_dict())
    assert_equal(model, other, inputs)


def test_load_state_dict_resizes_a_part_of_a_model():
    model, inputs = pruned('Residual')
    whole = nn.ModuleDict({'backbone': fresh('Residual')})
    surgery.resize_on_load(whole['backbone'])
    whole.load_state_dict(
        {f'backbone.{k}': v for k, v in model.state_dict().items()}
    )
    assert_equal(model, whole['backbone'], inputs)


def test_mmengine_resizes():
    checkpoint = pytest.importorskip('mmengine.runner.checkpoint')
    model, inputs = pruned('GroupedByPosition')
    other = surgery.resize_on_load(fresh('GroupedByPosition'))
    checkpoint.load_state_dict(other, model.state_dict(), strict=True)
    assert_equal(model, other, inputs)


def test_missing_keys_are_for_strict_to_judge():
    model, _ = pruned('Residual')
    state = model.state_dict()
    del state['head.bias']
    state['more'] = torch.zeros(3)
    other = surgery.resize_on_load(fresh('Residual'))
    with pytest.raises(RuntimeError, match='head.bias'):
        other.load_state_dict(state)
    result = other.load_state_dict(state, strict=False)
    assert result.missing_keys == ['head.bias']
    assert result.unexpected_keys == ['more']


def test_a_copy_keeps_the_ability():
    model, inputs = pruned('Residual')
    other = copy.deepcopy(surgery.resize_on_load(fresh('Residual')))
    other.load_state_dict(model.state_dict())
    assert_equal(model, other, inputs)


def test_resizing_widens_too():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 1))
    wide = nn.Sequential(nn.Conv2d(3, 9, 3), nn.Conv2d(9, 4, 1))
    mmdhp.rebuild(model, wide.state_dict())
    assert_equal(wide, model, (torch.randn(2, 3, 9, 8),))


def test_another_architecture_is_refused_and_changes_nothing():
    model = fresh('Residual')
    before = copy.deepcopy(model.state_dict())
    state = {
        **pruned('Residual')[0].state_dict(),
        'first.weight': torch.zeros(6, 8, 5, 3),
        'extra': torch.zeros(2),
        'head.weight': torch.zeros(4),
    }
    del state['stem.bias']
    with pytest.raises(ValueError, match='does not fit Residual') as error:
        mmdhp.rebuild(model, state)
    for line in (
        'stem.bias: missing',
        'extra: unknown to the architecture',
        'first.weight: shape (6, 8, 5, 3) against (6, 8, 3, 3)',
        'head.weight: shape (4,) against (4, 8)',
    ):
        assert line in str(error.value)
    assert all(
        torch.equal(before[k], v) for k, v in model.state_dict().items()
    )


def test_a_long_list_of_offenders_is_cut():
    with pytest.raises(ValueError, match=r'\.\.\. and \d+ more'):
        mmdhp.rebuild(fresh('Residual'), fresh('Attention').state_dict())


def test_shapes_of_a_state_dict():
    state = {'weight': torch.zeros(3, 2), 'note': 'text'}
    assert surgery.state_shapes(state) == {'weight': (3, 2)}
