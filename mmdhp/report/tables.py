"""The parts of a report that are tables."""

import os.path as osp
from typing import Any, Optional

from mmdhp.graph.reasons import REASONS
from mmdhp.text import amount

from .builder import Builder
from .drawing.page import details, note, table
from .measuring import Measured
from .work_dir import STATES, WorkDir


def add_costs(builder: Builder, measured: Optional[Measured]) -> None:
    """MACs, parameters, what was measured, of both networks."""
    rows = [
        [name, amount(was), amount(now), f'{now / was:.1%}']
        for name, was, now in costs_of(builder.run)
    ]
    text = ''
    if measured is not None:
        was, now = measured.latency
        rows.append(
            ['latency, ms', f'{was:.2f}', f'{now:.2f}', f'{now / was:.1%}']
        )
        before, after = (size / 2**20 for size in measured.memory)
        rows.append(
            [
                'activations at their peak, MiB',
                f'{before:.2f}',
                f'{after:.2f}',
                f'{after / before:.1%}',
            ]
        )
        threads = f'{measured.threads} thread{"s" * (measured.threads > 1)}'
        shape = ' × '.join(map(str, input_shape(builder.run)))
        text = note(
            f'Latency and memory: one input of {shape}, measured with '
            f'{threads} on the CPU of the machine that made this page; '
            'median of interleaved passes.'
        )
    if rows:
        header = ['', 'original', 'pruned', 'left']
        builder.add('Costs', table(header, rows), text)


def costs_of(run: WorkDir) -> list[tuple[str, float, float]]:
    """Name, original and pruned amount of every cost that is known."""
    names = {'macs': 'MACs', 'params': 'parameters'}
    if run.exported:
        return [
            (names.get(key, key), value['original'], value['pruned'])
            for key, value in run.exported.items()
            if isinstance(value, dict)
            and {'original', 'pruned'} <= value.keys()
            and value['original']
        ]
    start, cut = run.course.start, run.course.cut
    if not start or cut is None:
        return []
    return [
        (name, start[key], start[key] * cut[key])
        for key, name in names.items()
    ]


def input_shape(run: WorkDir) -> list[int]:
    """Of one input, without the batch axis; empty if unknown."""
    shape = run.exported.get('input_shape')
    return list(shape or run.course.start.get('input_shape') or [])


def add_metrics(builder: Builder) -> None:
    """Measures in the search and at the end."""
    run = builder.run
    cut = run.cut_at
    search: dict[str, float] = {}
    for entry in run.course.validations:
        if cut is None or entry['iter'] > cut:
            break
        search = entry['metrics']
    names = list(dict.fromkeys([*run.metrics, *search]))
    if names:
        rows = [
            [name, _number(search.get(name)), _number(run.metrics.get(name))]
            for name in names
        ]
        last = 'exported' if run.exported else 'last'
        builder.add(
            'Validation', table(['measure', 'end of search', last], rows)
        )


def _number(value: Optional[float]) -> str:
    return '–' if value is None else f'{value:.4g}'


def add_frozen(builder: Builder) -> None:
    """Channels that keep their width, and why."""
    frozen = builder.run.course.start.get('frozen')
    if frozen is None:
        return
    rows = [[name, str(size), reason] for name, size, _, reason in frozen]
    codes = dict.fromkeys(code for _, _, code, _ in frozen)
    helps = [
        [code, REASONS[code].meaning, REASONS[code].fix]
        for code in codes
        if code in REASONS
    ]
    builder.add(
        'Channels that keep their width',
        table(['where', 'channels', 'why'], rows)
        if rows
        else note('None: every channel could be pruned.'),
        '<details><summary>What helps</summary>'
        + table(['reason', 'meaning', 'what helps'], helps)
        + '</details>'
        if helps
        else '',
    )


def add_setup(builder: Builder) -> None:
    """Logs, machine, versions and config."""
    run = builder.run
    facts: list[list[str]] = [
        ['folder', osp.abspath(run.path)],
        ['state', STATES[run.state]],
        ['log folders', ', '.join(run.course.folders) or 'none'],
    ]
    versions: dict[str, Any] = run.exported.get('versions', {})
    facts += [[f'{key}, at export', str(v)] for key, v in versions.items()]
    facts += [list(pair) for pair in run.environment]
    parts = [table(['what', 'value'], facts)]
    if run.config:
        with open(run.config, encoding='utf-8', errors='replace') as file:
            parts.append(details(osp.basename(run.config), file.read()))
    builder.add('Setup', *parts)
