"""The text of a pruning config."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from mmdhp.methods import DHP, HSN, LWDNA, OneShot, Pruner

from .base_facts import CLIP, BaseFacts, fine_tune_rate
from .input_shape import InputShape

METHODS: dict[str, type[Pruner]] = {
    'dhp': DHP,
    'hsn': HSN,
    'lwdna': LWDNA,
    'oneshot': OneShot,
}
SUMMARIES = {
    'dhp': 'DHP searches from scratch: a hypernetwork generates the weights',
    'hsn': 'HSN searches gates for a trained network, whose weights it keeps',
    'lwdna': 'LW-DNA cuts a widened network once, then trains from scratch',
    'oneshot': 'One-shot: a trained network is cut at once, then fine-tuned',
}
NAMES = {'macs': 'MACs', 'params': 'parameters'}
COLUMNS = 79
GENERATING = ('dhp', 'lwdna')  # weights are generated, not loaded
RESTORATION_PENALTY = 0.1  # λ of HSN


@dataclass(frozen=True)
class Request:
    """What the user asked for, and what was found for it.

    Args:
        base (str): How ``_base_`` names the base.
        method (str): One of :data:`METHODS`.
        target (dict[str, float]): What is left, e.g. ``{'macs': 0.5}``.
        shape (InputShape): At which MACs are counted.
        divisor (int): Kept channels are multiples of it.
        weights (str | None): Weights that it starts from.
    """

    base: str
    method: str
    target: dict[str, float]
    shape: InputShape
    divisor: int
    weights: Optional[str]


def config_text(request: Request, facts: BaseFacts) -> str:
    """The config as text, with comments.

    Args:
        request (Request): What is asked for.
        facts (BaseFacts): About the base.
    """
    parts = [
        f'# {SUMMARIES[request.method]}.\n'
        '# Train: mmdhp train THIS_FILE        Look: mmdhp inspect THIS_FILE\n'
        f'_base_ = {request.base!r}\n'
    ]
    if facts.imports is not None:
        parts.append(
            '# Lets the library import beside current packages.\n'
            f'custom_imports = dict(imports={facts.imports!r}, '
            'allow_failed_imports=False)\n'
        )
    parts += _model_part(request, facts)
    parts += _wrapper_part(request, facts)
    parts += _hook_part(request, facts)
    if request.weights is not None:
        parts.append(
            '# The trained network that is pruned.\n'
            f'load_from = {request.weights!r}  # noqa: E501\n'
        )
    return '\n'.join(parts)


def _model_part(request: Request, facts: BaseFacts) -> list[str]:
    """Widening, and a backbone whose weights may be generated."""
    generates = request.method in GENERATING
    changes = facts.frozen if generates else {}
    note = (
        '# Weights are generated: the backbone neither keeps nor loads any.\n'
    )
    inner = ', '.join(f'{key}={value!r}' for key, value in changes.items())
    if request.method != 'lwdna':
        if not changes:
            return []
        return [f'{note}model = dict(backbone=dict({inner}))\n']
    architecture = '_base_.model'
    if changes:
        architecture = (
            'dict(\n        _base_.model, '
            f'backbone=dict(_base_.model.backbone, {inner})\n    )'
        )
    return [
        '# Twice the widths; the target is a fraction of the original.\n'
        f'{note if changes else ""}'
        'model = dict(\n'
        '    _delete_=True,\n'
        "    type='mmdhp.Widened',\n"
        f'    architecture={architecture},\n'
        '    factor=2,\n'
        f'    input_shape={request.shape.shape},\n'
        ')\n'
    ]


def _wrapper_part(request: Request, facts: BaseFacts) -> list[str]:
    lines = [
        'optim_wrapper = dict(',
        f"    type='{facts.wrapper}',",
        "    constructor='mmdhp.PruningOptimWrapperConstructor',",
    ]
    if facts.constructor:
        lines.append(f'    base_constructor={_dict_text(facts.constructor)},')
    rate = fine_tune_rate(facts.optimizer)
    if rate is not None and request.weights is not None:
        lines += [
            '    # A tenth of the rate for training from scratch.',
            f'    optimizer=dict(lr={rate!r}),',
        ]
    if facts.widens_steps and request.method in GENERATING:
        lines += [
            '    # Heads without norms diverge from generated weights.',
            f'    clip_grad={_dict_text(CLIP)},',
        ]
    lines += ['    pruner=dict(', *_pruner_lines(request, facts), '    ),']
    return ['\n'.join([*lines, ')']) + '\n']


def _pruner_lines(request: Request, facts: BaseFacts) -> list[str]:
    kept = ', '.join(
        f'{100 * value:g} % of the {NAMES.get(key, key)}'
        for key, value in request.target.items()
    )
    lines = [
        f"        type='mmdhp.{METHODS[request.method].__name__}',",
        f'        target={_dict_text(request.target)},  # {kept}',
        f'        # {request.shape.source}',
        f'        input_shape={request.shape.shape},',
    ]
    if request.method == 'hsn' and facts.restorer:
        lines += [
            '        # A loss of images is about a hundredth of an entropy.',
            f'        regularization={RESTORATION_PENALTY},',
        ]
    if request.divisor > 1:
        lines.append(
            f'        divisor={request.divisor},  # widths are multiples'
        )
    else:
        lines.append('        # divisor=8,  # widths that suit most hardware')
    lines.append(
        "        # exclude=['backbone.stem*'],  # what keeps its width"
    )
    return lines


def _dict_text(values: Mapping[str, Any]) -> str:
    """A flat dict as OpenMMLab's configs write it."""
    inner = ', '.join(f'{key}={value!r}' for key, value in values.items())
    return f'dict({inner})'


def _hook_part(request: Request, facts: BaseFacts) -> list[str]:
    """Hook with the length of the search; the best checkpoint."""
    fraction = METHODS[request.method].search_fraction
    word = facts.unit.partition('_')[2].replace('iters', 'iterations')
    hook = "dict(type='mmdhp.PruningHook')"
    note = f'# No search; then {facts.length} {word} of fine-tuning.\n'
    if fraction:
        length = max(int(facts.length * fraction), 1)
        note = (
            f'# At most {length} {word} of search, then the '
            f'{facts.length} of the base.\n'
        )
        search = f'search=dict({facts.unit}={length})'
        hook = f"dict(type='mmdhp.PruningHook', {search})"
    own = '_base_.custom_hooks + ' if facts.has_hooks else ''
    hooks = _wrapped(f'custom_hooks = {own}[', hook, ']')
    parts = [f'{note}{hooks}\n']
    if facts.best is not None:
        best = f"checkpoint=dict(save_best={facts.best!r}, rule='greater')"
        parts.append(
            '# Keeps the best checkpoint of the search, then of the rest.\n'
            f'{_wrapped("default_hooks = dict(", best, ")")}\n'
        )
    return parts


def _wrapped(head: str, inner: str, tail: str) -> str:
    """A statement on one line if it fits, on three otherwise."""
    line = f'{head}{inner}{tail}'
    if len(line) <= COLUMNS:
        return line
    return f'{head}\n    {inner}\n{tail}'
