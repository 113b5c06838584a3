"""Hundreds of configs that cannot work: each ends in one clear message.

Nothing is trained. What is refused must be refused by a ``raise`` of mmdhp
that names the key and shows the value, whatever the value is.
"""

import math
import random
import traceback
from pathlib import Path

import pytest
from mmengine.registry import HOOKS
from mmengine.registry import MODELS as ROOT_MODELS
from toy import SHAPE, ToyNet, pruner

import mmdhp
from mmdhp.engine import DistillationHook, PruningHook
from mmdhp.engine.constructor import (
    PruningOptimWrapperConstructor,
    build_pruner,
)
from mmdhp.engine.wrapper_config import PARAMWISE_KEYS
from mmdhp.graph import GraphError
from mmdhp.methods import DHP, HSN, LWDNA, OneShot
from mmdhp.methods.options import accepted
from mmdhp.models.model_forward import run_model
from mmdhp.models.widened import build_widened

NAN, INF = math.nan, math.inf
FOLDER = str(Path(mmdhp.__file__).parent)
CLEAR = (TypeError, ValueError, KeyError, GraphError, FileNotFoundError)

JUNK = ['', 'x', [], {}, (1, 2), object, b'x', 1j, NAN]
NO_COUNT = [*JUNK, None, -1, 2.5, True, INF]  # of at least 0
NO_NUMBER = [*JUNK, -0.5, True, INF, -INF, '1e-3', [0.1]]  # None may be one
NO_WORD = [*JUNK, 0, True, -INF, ['x'], 'of none']
NO_LIST = ['head', '', 3, None, True, NAN, {'a': 1}, [1], [None], [''], [[]]]
NO_FLAG = ['True', 'x', '', 0, 1, None, [], NAN]
NO_DICT = ['x', '', 3, True, NAN, [1], ('type', 'SGD'), object]

# Option -> values that cannot work, for every option of every method.
BASE = {
    'target': [
        *NO_DICT,
        {},
        None,
        0.5,
        {'macs': 0.4, 'params': 4},
        *({'macs': value} for value in [*JUNK, None, True, 0, -0.1, 1.01]),
        *({'macs': value} for value in [INF, -INF, 40, '40%', [0.4]]),
        *({key: 0.5} for key in ['flops', 'mac', 'Macs', '', None, 3]),
    ],
    'input_shape': [
        'x',
        3,
        True,
        NAN,
        {'a': 1},
        None,
        (),
        [],
        (3, 0, 9),
        (3, -1, 9),
    ]
    + [(3, 9.0, 9), (3, '9', 9), (3, None, 9), (3, True, 9), (NAN, 9, 9)],
    'min_channels': [*JUNK, None, 0, -1, 1.0, 2.5, True, INF],
    'floors': ['x', 3, [1], NAN]
    + [{'stem': value} for value in [*JUNK, None, 0, -1, 1.0, True, INF]]
    + [{3: 4}, {None: 4}],
    'max_ratio': [*NO_NUMBER[:2], NAN, None, 0, -0.5, 1.01, True, INF, [0.5]]
    + [{'stem': value} for value in [*JUNK, None, 0, -1, 2, True, INF]],
    'divisor': [*NO_COUNT, 0],
    'exclude': NO_LIST,
    'groups': [*NO_LIST[:7], ['stem'], [3], [[]], [['stem', 3]], [['']]],
    'safe_norms': NO_LIST,
    'kinds': [*NO_LIST, [], ['wieght'], ['weight', 'bias'], ['macs']],
    'latency': NO_DICT
    + [{'rouns': 3}, {3: 3}]
    + [{'input_shape': value} for value in ['x', 3, NAN, (), (3, 0, 9)]]
    + [{'batch_size': value} for value in [*NO_COUNT, 0]]
    + [{'num_threads': value} for value in [*JUNK, -1, 2.5, True, INF, 0]]
    + [{'rounds': value} for value in [*NO_COUNT, 0]]
    + [{'time_limit': value} for value in [*JUNK, None, True, -1, '60']]
    + [{'cache': value} for value in [3, True, NAN, [], {}, object]],
}
LATENT = {
    'regularization': NO_NUMBER,
    'regularizer': [*NO_WORD, None, 'L1', 'l3'],
    'threshold': [*NO_NUMBER, None],
    'embedding_dim': [*NO_COUNT, 0, 8.0],
    'weight_lr': NO_NUMBER,
}
METHODS = {
    DHP: {**BASE, **LATENT, 'stop_limit': [*NO_NUMBER, None]},
    LWDNA: {
        **BASE,
        **LATENT,
        'score': [*NO_WORD, None, 'mean_gradients'],
        'normalize': [*NO_WORD, 'maximum'],
        'weights': [*NO_WORD, None, 'kept'],
        'classifier_floor': [*JUNK, 0, -1, 1.0, 2.5, True, INF],
    },
    HSN: {
        **BASE,
        'regularization': [*NO_NUMBER, None],
        'epsilon': [*NO_NUMBER, None, 0, 'row'],
        'scope': [*NO_WORD, None, 'gate'],
        'gates': [*NO_WORD, None, 'inners'],
        'generator': [*NO_WORD, None, 'gru'],
        'inputs': [*NO_WORD, None, 'fix'],
        'noise': [*NO_WORD, None, 'gumble'],
        'temperature': [*NO_NUMBER, None, 0],
        'offset': [*JUNK, None, True, INF, -INF, '3'],
        'scaling': [*NO_WORD, None, 'adamw'],
        'scaling_lr': [*NO_NUMBER, None],
        'scaling_bounds': [
            '',
            'x',
            [],
            {},
            object,
            NAN,
            3,
            True,
            (1,),
            (2, 3),
            (-1, 2),
            (0.1, NAN),
        ]
        + [(0.1, INF), (0.1, '10'), (None, 10), (10, 0.1), (0.1, 0.5)],
        'decision': [*NO_WORD, None, 'mean'],
        'norms': [*NO_WORD, None, 'train'],
    },
    OneShot: {
        **BASE,
        'criterion': [*NO_WORD, None, 'L1', 'l3', 'tailor'],
        'scope': [*NO_WORD, None, 'uniforn'],
        'weights': [*NO_WORD, None, 'keep'],
        'batches': [*NO_COUNT, 0],
        'seed': NO_COUNT,
    },
}
HOOK = {
    'search': NO_DICT
    + [{'max_iters': value} for value in [*NO_COUNT, 0]]
    + [{'max_epochs': value} for value in [*NO_COUNT, 0]]
    + [{'samples': value} for value in [*JUNK, 0, -1, 2.5, True, INF]]
    + [{'dataloader': value} for value in NO_DICT]
    + [{'param_scheduler': v} for v in ['x', 3, True, [3], ['x'], [{}]]]
    + [{'max_epochs': 3, 'max_iters': 3}],
    'interval': [*NO_COUNT, 0],
    'optimizer_state': [*NO_WORD, None, 'slice'],
    'recalibrate': NO_COUNT,
    'verify': NO_FLAG,
    'export': NO_FLAG,
}
TEACHER = {'config': {'model': {'type': 'ToyNet'}}, 'checkpoint': 'a.pth'}
DISTILLATION = {
    'teacher': [*NO_DICT, None, {}, {'config': 'a.py'}]
    + [{**TEACHER, 'config': v} for v in [None, 3, '', [], {}, {'model': 3}]]
    + [{**TEACHER, 'checkpoint': v} for v in [None, 3, '', [], NAN, True]],
    'module': [3, None, '', [], True, NAN],
    'teacher_module': [3, '', [], True, NAN],
    'criterion': [*NO_WORD, None, 'KL', 'l3'],
    'temperature': [*NO_NUMBER, None, 0],
    'weight': [*NO_NUMBER, None, 0, 1.5],
    'stage': [*NO_WORD, None, 'finetune'],
}
WIDENED = {
    'architecture': [*NO_DICT, None, {}, {'type': None}, {'type': ''}],
    'input_shape': BASE['input_shape'],
    'factor': [*JUNK, None, 0.5, -2, True, INF, '2'],
    'exclude': NO_LIST,
    'groups': BASE['groups'],
    'safe_norms': NO_LIST,
}
WRAPPER = {
    'type': ['x', '', 'OptimWraper', 'mmdhp.DHP', 3, None],
    'pruner': [*NO_DICT, None, {}, {'type': None}, {'type': 3}],
    'optimizer': [*NO_DICT, None, {}, {'type': None}, {'type': 'SDG'}]
    + [{'type': 'SGD', 'lr': value} for value in [NAN, INF, -1, 'x', [], {}]]
    + [{'type': 'SGD', 'lr': 0.1, 'momentum': v} for v in [NAN, -1, 'x']]
    + [{'type': 'Adam', 'lr': 0.1, 'betas': v} for v in [3, (2, 2), 'x']]
    + [{'type': 'SGD', 'lr': 0.1, 'nesterov': True}]
    + [{'type': 'SGD', 'lr': 0.1, 'weight_decay': v} for v in [NAN, -1]],
    'base_constructor': [*NO_DICT, {}, {'type': None}, {'type': 3}],
    'search_optimizer': NO_DICT,
    'accumulative_counts': [*NO_COUNT, 0],
    'clip_grad': [*NO_DICT, {}, {'max_norm': 1, 'type': 'nom'}]
    + [{'max_norm': value} for value in [NAN, INF, 0, -1, 'x', None, True]]
    + [{'type': 'value', 'clip_value': value} for value in [NAN, 0, 'x']],
}


def shown(value):
    """The part of a value that a message must show."""
    while isinstance(value, dict) and value:
        *_, value = value.values()
    return repr(value)


def problem(build, key, value):
    """Why a value was not refused as it should be; empty if it was."""
    try:
        build()
    except CLEAR as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error.args[0])
        if not frame.filename.startswith(FOLDER):
            return f'{value!r}: from below, {frame.filename}: {error!r}'
        if not (frame.line or '').startswith('raise'):
            return f'{value!r}: by accident in {frame.name}: {error!r}'
        if key not in text:
            return f'{value!r}: does not name {key}: {text}'
        if isinstance(value, (int, float, str)) and shown(value) not in text:
            return f'{value!r}: is not shown: {text}'
        return ''
    except Exception as error:
        return f'{value!r}: {error!r}'
    return f'{value!r}: accepted'


def report(build, key, values):
    problems = [problem(lambda v=v: build(v), key, v) for v in values]
    assert not any(problems), '\n'.join(filter(None, problems))


def method(kind, **changes):
    cfg = {'type': f'mmdhp.{kind.__name__}', 'target': {'macs': 0.5}}
    return build_pruner({**cfg, 'input_shape': SHAPE, **changes})


def wrapper(**changes):
    cfg = {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'pruner': pruner()}
    return PruningOptimWrapperConstructor({**cfg, **changes})


def widened(**changes):
    cfg = {'architecture': {'type': 'ToyNet'}, 'input_shape': SHAPE}
    return ROOT_MODELS.build({'type': 'mmdhp.Widened', **cfg, **changes})


def pruning_hook(**changes):
    return HOOKS.build({'type': 'mmdhp.PruningHook', **changes})


def distillation(**changes):
    cfg = {'type': 'mmdhp.DistillationHook', 'teacher': TEACHER}
    return HOOKS.build({**cfg, **changes})


@pytest.mark.parametrize(
    ('kind', 'option'),
    [
        (kind, option)
        for kind, options in METHODS.items()
        for option in options
    ],
)
def test_values_of_a_method(kind, option):
    method(kind)
    values = METHODS[kind][option]

    report(lambda value: method(kind, **{option: value}), option, values)


@pytest.mark.parametrize('kind', METHODS)
def test_every_option_of_a_method_is_tried(kind):
    assert set(accepted(kind)) == set(METHODS[kind])


BUILDERS = {
    pruning_hook: (PruningHook, HOOK),
    distillation: (DistillationHook, DISTILLATION),
    widened: (build_widened, WIDENED),
}


@pytest.mark.parametrize(
    ('build', 'option'),
    [(b, option) for b, (_, table) in BUILDERS.items() for option in table],
)
def test_values_of_hooks_and_models(build, option):
    values = BUILDERS[build][1][option]

    report(lambda value: build(**{option: value}), option, values)


@pytest.mark.parametrize('build', BUILDERS)
def test_every_option_of_hooks_and_models_is_tried(build):
    known, table = BUILDERS[build]
    passed_on = {'data_preprocessor', 'backbone'}

    assert set(accepted(known)) - passed_on == set(table)


@pytest.mark.parametrize('option', WRAPPER)
def test_values_of_the_wrapper(option):
    wrapper()

    report(lambda value: wrapper(**{option: value}), option, WRAPPER[option])


@pytest.mark.parametrize('key', PARAMWISE_KEYS)
def test_values_of_paramwise_options(key):
    values = {
        'custom_keys': [3, 'x', {'a': 3}, {'a': {'lr_mult': NAN}}],
        'bypass_duplicate': [],
    }.get(key, [NAN, 'x', None, -1, INF, True, []])

    def build(value):
        optimizer = {'type': 'SGD', 'lr': 0.1, 'weight_decay': 1e-4}
        PruningOptimWrapperConstructor(
            {'optimizer': optimizer, 'pruner': pruner()}, {key: value}
        )

    report(build, key, values)


def misspelt(word, seed):
    """A word with a typical slip, which is no other word by chance."""
    draw = random.Random(f'{word}{seed}')
    place = draw.randrange(len(word) - 1)
    return draw.choice(
        [
            word[:place] + word[place + 1 :],
            word[:place] + word[place] + word[place:],
            word[:place] + word[place + 1] + word[place] + word[place + 2 :],
            word[:place] + draw.choice('aeiouxyz') + word[place + 1 :],
            word.replace('_', '', 1),
            word + 's',
        ]
    )


def slips(known):
    """Misspelt words and the right ones."""
    pairs = [(misspelt(word, i), word) for word in known for i in range(5)]
    return dict(pair for pair in pairs if pair[0] not in known)


def check_slips(build, known):
    found = slips(known)
    assert len(found) >= 2 * len(known)
    problems = []
    for wrong, right in found.items():
        text = problem(lambda w=wrong: build(w), wrong, None)
        if not text:
            text = problem(lambda w=wrong: build(w), 'did you mean', None)
        if not text and len(right) > 4:
            text = problem(lambda w=wrong: build(w), repr(right), None)
        problems.append(text)
    assert not any(problems), '\n'.join(filter(None, problems))


@pytest.mark.parametrize('kind', METHODS)
def test_misspelt_keys_of_a_method(kind):
    check_slips(lambda key: method(kind, **{key: 1}), accepted(kind))


@pytest.mark.parametrize('build', BUILDERS)
def test_misspelt_keys_of_hooks_and_models(build):
    check_slips(lambda key: build(**{key: 1}), list(BUILDERS[build][1]))


def test_misspelt_keys_of_the_wrapper():
    check_slips(lambda key: wrapper(**{key: 1}), list(WRAPPER))


def test_misspelt_keys_inside_of_options():
    sgd = {'type': 'SGD', 'lr': 0.1, 'weight_decay': 0.1}
    cases = [
        ('max_iters', lambda key: pruning_hook(search={key: 3})),
        ('param_scheduler', lambda key: pruning_hook(search={key: 3})),
        ('checkpoint', lambda key: distillation(teacher={key: 'a.pth'})),
        ('momentum', lambda key: wrapper(optimizer={**sgd, key: 0.9})),
        ('weight_decay', lambda key: wrapper(optimizer={**sgd, key: 0.9})),
        ('max_norm', lambda key: wrapper(clip_grad={key: 3})),
    ]
    for word, build in cases:
        check_slips(build, [word])
    check_slips(
        lambda key: PruningOptimWrapperConstructor(
            {'optimizer': sgd, 'pruner': pruner()}, {key: 1.0}
        ),
        PARAMWISE_KEYS,
    )


def test_misspelt_types():
    sgd = {'type': 'SGDD', 'lr': 0.1}
    report(
        lambda value: build_pruner(pruner(type=value)), 'mmdhp.DHP', ['DPH']
    )
    report(lambda _: wrapper(optimizer=sgd), "did you mean 'SGD'", [None])


# What contradicts, or cannot be, with a model at hand.
IMPOSSIBLE = {
    'cannot be reached': [
        {'target': {'macs': 1e-4}},
        {'target': {'params': 0.01}},
        {'target': {'macs': 0.3}, 'min_channels': 500},
        {'target': {'macs': 0.3}, 'max_ratio': 0.1},
        {'target': {'macs': 0.1}, 'divisor': 8},
        {'target': {'macs': 0.3}, 'exclude': ['stem']},
    ],
    'input_shape': [
        {'input_shape': shape}
        for shape in [(2, 9, 11), (3,), (3, 9), (1, 1, 1, 1, 1), (4, 9, 11)]
    ],
    'exclude': [{'exclude': ['no_such']}, {'exclude': ['stem', 'fcc']}],
    'floors': [{'floors': {'no_such': 4}}, {'floors': {'fc': 4}}],
    'max_ratio': [{'max_ratio': {'no_such': 0.5}}],
    'groups': [
        {'groups': [['stem', 'no_such']]},
        {'groups': [['stem', 'blocks.0.first']]},
    ],
    'safe_norms': [{'safe_norms': ['no_such']}],
    'Nothing in ToyNet can be': [{'exclude': ['*']}],
}


@pytest.mark.parametrize('kind', METHODS)
@pytest.mark.parametrize('key', IMPOSSIBLE)
@pytest.mark.filterwarnings('ignore:ToyNet is not widened')
def test_what_the_model_does_not_allow(kind, key):
    for changes in IMPOSSIBLE[key]:
        if kind is LWDNA and 'divisor' in changes:
            continue  # a fraction of the group comes first
        found = problem(
            lambda c=changes: method(kind, **c).attach(ToyNet(), run_model),
            key,
            None,
        )
        assert not found, (changes, found)


def test_contradictions():
    report(
        lambda _: method(HSN, scope='gated', target={'params': 0.5}),
        "scope is 'gated'",
        [None],
    )
    report(lambda _: wrapper(loss_scale='dynamic'), 'Amp', [None])
    report(
        lambda value: wrapper(
            type='mmdhp.PruningAmpOptimWrapper', loss_scale=value
        ),
        'loss_scale',
        [NAN, 0, -1, 'dynamical', [], {'init_scal': 3}],
    )
    decays = {'type': 'SGD', 'lr': 0.1}
    report(
        lambda _: PruningOptimWrapperConstructor(
            {'optimizer': decays, 'pruner': pruner()}, {'norm_decay_mult': 0}
        ),
        'norm_decay_mult, but optim_wrapper.optimizer no weight_decay',
        [None],
    )
    for change in ({'momentun': 0}, {'lr': NAN}, {'type': 'Adamm', 'lr': 1}):
        build = wrapper(search_optimizer=change)
        report(lambda _, b=build: b(ToyNet()), 'search_optimizer', [None])


def test_there_are_hundreds():
    tables = [*METHODS.values(), HOOK, DISTILLATION, WIDENED, WRAPPER]
    count = sum(len(values) for table in tables for values in table.values())

    assert count > 1000
