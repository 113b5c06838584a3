"""Groups, reasons, options and errors of a trace."""

import re

import pytest
import torch
import zoo
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

import mmdhp
from mmdhp.graph import RULES, GraphError

FROZEN = [name for name in zoo.ZOO if getattr(zoo.ZOO[name], 'frozen', None)]


def sizes(graph):
    return {group.name: group.size for group in graph.groups}


@pytest.mark.parametrize('name', zoo.ZOO)
def test_groups_are_as_expected(name):
    model, inputs = zoo.build(name)
    assert sizes(mmdhp.trace(model, inputs)) == model.expected


@pytest.mark.parametrize('name', FROZEN)
def test_frozen_channels_have_a_reason(name):
    model, inputs = zoo.build(name)
    frozen = mmdhp.trace(model, inputs).frozen
    for code, text in model.frozen.items():
        reasons = [group.reason for group in frozen if group.code == code]
        assert any(re.search(text, reason) for reason in reasons), reasons


@pytest.mark.parametrize('name', zoo.ZOO)
def test_a_batch_of_one_gives_the_same_groups(name):
    model, inputs = zoo.build(name)
    one = tuple(tensor[:1] for tensor in inputs)
    assert sizes(mmdhp.trace(model, one)) == model.expected


@pytest.mark.parametrize('name', zoo.ZOO)
def test_units_partition_the_flat_vector(name):
    graph = mmdhp.trace(*zoo.build(name))
    stop = 0
    for group in [*graph.groups, *graph.frozen]:
        assert group.start == stop
        stop = group.stop
        for member in group.members:
            positions = [p for own in member.indices for p in own]
            units = graph.axis_units[member.name, member.axis]
            inside = (units >= group.start) & (units < group.stop)
            assert sorted(positions) == inside.nonzero()[0].tolist()
    assert stop == graph.num_units + graph.num_frozen
    assert graph.group_of_unit.bincount().tolist() == [
        group.size for group in graph.groups
    ]


def test_members_name_every_axis_that_is_cut():
    graph = mmdhp.trace(*zoo.build('PReLU'))
    stem = graph.groups[0]
    assert [(m.module, m.parameter, m.axis) for m in stem.members] == [
        ('stem', 'weight', 0),
        ('stem', 'bias', 0),
        ('slopes', 'weight', 0),
        ('mid', 'weight', 1),
    ]
    assert stem.members[0].name == 'stem.weight'
    assert stem.members[3].indices == ((0,), (1,), (2,), (3,), (4,), (5,))


def test_a_unit_may_hold_several_positions():
    graph = mmdhp.trace(*zoo.build('SubPixel'))
    up = next(group for group in graph.groups if group.name == 'up')
    weight = next(m for m in up.members if m.name == 'up.weight')
    assert weight.indices[1] == (4, 5, 6, 7)
    assert str(up) == "group 'up' (5 units)"


def test_inputs_may_be_a_tensor_a_tuple_or_keywords():
    model, (x, y) = zoo.build('TwoInputs')
    assert sizes(mmdhp.trace(model, {'y': y, 'x': x})) == model.expected
    assert sizes(mmdhp.trace(model, [x, y])) == model.expected
    model, (x,) = zoo.build('Shared')
    assert sizes(mmdhp.trace(model, x)) == model.expected


def test_forward_says_how_to_call_the_model():
    model, (x, y) = zoo.build('TwoInputs')
    graph = mmdhp.trace(
        model, {'pair': [y, x]}, forward=lambda m, i: m(*i['pair'][::-1])
    )
    assert sizes(graph) == model.expected


def test_unused_parameters_are_listed():
    model, inputs = zoo.build('Shared')
    model.extra = nn.Conv2d(4, 5, 3, bias=False)
    assert mmdhp.trace(model, inputs).unused == ['extra.weight']


def test_functional_layers_of_one_module_have_distinct_names():
    model, inputs = zoo.build('RawParameter')
    names = [group.name for group in mmdhp.trace(model, inputs).groups]
    assert names == ['stem', 'kernel']


# --------------------------------------------------------------- what is asked
def test_excluded_modules_keep_their_outputs():
    model, inputs = zoo.build('Residual')
    graph = mmdhp.trace(model, inputs, exclude=['first*'])
    assert sizes(graph) == {'second': 5}
    reasons = {f.name: f.reason for f in graph.frozen if f.code == 'excluded'}
    assert reasons == {
        'stem': "first_out matches 'first*' of `exclude`",
        'first': "first matches 'first*' of `exclude`",
    }


def test_an_excluded_module_takes_those_inside_with_it():
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3),
        nn.Sequential(nn.Conv2d(5, 7, 1), nn.ReLU()),
        nn.Conv2d(7, 4, 1),
    )
    graph = mmdhp.trace(model, torch.zeros(2, 3, 9, 8), exclude=['1'])
    assert sizes(graph) == {'0': 5}


def test_a_pattern_that_matches_nothing_is_an_error():
    model, inputs = zoo.build('Residual')
    with pytest.raises(KeyError, match=r"exclude: 'frist' matches no module"):
        mmdhp.trace(model, inputs, exclude=['frist'])
    with pytest.raises(KeyError, match=r"groups: 'sedond'.*second"):
        mmdhp.trace(model, inputs, groups=[['first', 'sedond']])


def test_tied_modules_are_one_group():
    model, inputs = zoo.build('TwoInputs')
    model.right = nn.Conv2d(5, 6, 1)
    pair = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 1)
    )
    x = torch.zeros(2, 3, 9, 8)
    assert sizes(mmdhp.trace(pair, x)) == {'0': 6, '1': 6}
    graph = mmdhp.trace(pair, x, groups=[['0', '1']])
    assert sizes(graph) == {'0': 6}
    assert mmdhp.verify(pair, graph, graph.random_keep(0.5), x) < 1e-6


def test_modules_of_different_sizes_cannot_be_tied():
    model, inputs = zoo.build('Residual')
    message = r'different numbers of units \(first: 6, second: 5\)'
    with pytest.raises(GraphError, match=message):
        mmdhp.trace(model, inputs, groups=[['first', 'second']])


def test_a_model_that_cannot_run_is_an_error():
    model, _ = zoo.build('Shared')
    message = r'Shared cannot run on inputs of shape \[\(2, 4, 9, 8\)\]'
    with pytest.raises(GraphError, match=message):
        mmdhp.trace(model, torch.zeros(2, 4, 9, 8))


def test_a_graph_error_of_the_model_passes_through():
    def forward(model, inputs):
        raise GraphError('mine')

    with pytest.raises(GraphError, match=r'^mine$'):
        mmdhp.trace(nn.Linear(3, 4), torch.zeros(2, 3), forward=forward)


# ----------------------------------------------------- what is not understood
def test_a_rule_that_fails_freezes(monkeypatch):
    def rule(trace, call):
        raise IndexError('boom')

    monkeypatch.setitem(RULES, 'cat', rule)
    graph = mmdhp.trace(*zoo.build('Concat'))
    assert sizes(graph) == {}
    reasons = [f.reason for f in graph.frozen if f.name == 'a']
    assert 'IndexError: boom' in reasons[0]


def test_a_shadow_of_another_shape_freezes(monkeypatch):
    def rule(trace, call):
        trace.set(call, trace.shadow(call.args[0][0]).strands)

    monkeypatch.setitem(RULES, 'cat', rule)
    graph = mmdhp.trace(*zoo.build('Concat'))
    assert sizes(graph) == {}
    reasons = [f.reason for f in graph.frozen if f.name == 'a']
    assert 'a shadow of shape (1, 5, 1, 1)' in reasons[0]


def test_an_operator_of_another_library_has_no_rule():
    @torch.library.custom_op('zoo::mean', mutates_args=())
    def mean(x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(1, keepdim=True)

    class Net(nn.Sequential):
        def forward(self, x):
            return self[1](mean(self[0](x)))

    model = Net(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 1))
    graph = mmdhp.trace(model, torch.zeros(2, 3, 9, 8))
    assert sizes(graph) == {}
    assert 'zoo::mean in the model has no rule' in graph.frozen[0].reason


@pytest.mark.parametrize('allocates', [False, True])
def test_an_output_from_outside_freezes_what_may_have_led_to_it(allocates):
    class Net(nn.Sequential):
        def forward(self, x):
            found = super().forward(x).numpy()[:, ::-1].copy()
            if not allocates:
                return torch.utils.dlpack.from_dlpack(found)
            out = x.new_empty(found.shape)
            out.numpy()[:] = found
            return out

    model = Net(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 1))
    graph = mmdhp.trace(model, torch.zeros(2, 3, 9, 8))
    assert sizes(graph) == {}
    assert {'the model returns' in f.reason for f in graph.frozen} == {
        True,
        False,  # the image
    }


# ------------------------------------------------------------ leaving no trace
class _Stateful(nn.Module):
    """Everything that a forward pass may change."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.register_buffer('count', torch.zeros(2))
        self.head = nn.Conv2d(6, 4, 1)
        self.head.weight.requires_grad_(False)
        self.fail = False
        self.values = False

    def train(self, mode=True):
        super().train(mode)
        if not mode:
            self.norm.weight.requires_grad_(False)
        return self

    def forward(self, x):
        torch.rand(3)
        self.count += 1
        self.other = nn.Linear(2, 3)
        self.seen = [x]
        if self.values and self.count.sum().item() < 0:
            return x
        if self.values:
            self.stem.weight.data.mul_(2)
        if self.fail:
            raise RuntimeError('failed')
        return self.head(self.norm(self.stem(x)))


def _state(model):
    return {
        'classes': [type(m) for m in model.modules()],
        'ids': [id(t) for t in model.state_dict(keep_vars=True).values()],
        'attributes': [list(vars(m)) for m in model.modules()],
        'training': [m.training for m in model.modules()],
        'flags': [p.requires_grad for p in model.parameters()],
        'grads': [p.grad for p in model.parameters()],
        'values': {k: v.tolist() for k, v in model.state_dict().items()},
        'hooks': [
            (list(m._forward_hooks), list(m._forward_pre_hooks))
            for m in model.modules()
        ],
        'global hooks': [
            len(hooks)
            for name, hooks in vars(nn.modules.module).items()
            if name.startswith('_global') and isinstance(hooks, dict)
        ],
        'rng': torch.get_rng_state().tolist(),
        'grad mode': torch.is_grad_enabled(),
    }


@pytest.mark.parametrize('values', [False, True])
@pytest.mark.parametrize('fail', [False, True])
def test_the_model_is_as_before(fail, values):
    model = _Stateful().train()
    model.norm.eval()
    model.fail, model.values = fail, values
    model.stem.register_forward_hook(lambda *args: None)
    before = _state(model)
    if fail:
        with pytest.raises(GraphError, match='failed'):
            mmdhp.trace(model, torch.zeros(2, 3, 9, 8))
    else:
        mmdhp.trace(model, torch.zeros(2, 3, 9, 8))
    assert _state(model) == before


def test_no_fake_tensor_stays_behind():
    model, inputs = zoo.build('CachedTensor')
    mean = model.mean
    mmdhp.trace(model, inputs)
    assert model.mean is mean
    assert model.cache == {'seen': [], 'last': None}
    assert not hasattr(model, 'late')
    held = tree_leaves([vars(module) for module in model.modules()])
    tensors = [leaf for leaf in held if isinstance(leaf, torch.Tensor)]
    assert {type(t) for t in tensors} <= {torch.Tensor, nn.Parameter}


def test_a_trace_works_under_a_mode_of_the_user():
    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    model, inputs = zoo.build('Chunk')
    with Mode():
        assert sizes(mmdhp.trace(model, inputs)) == model.expected
