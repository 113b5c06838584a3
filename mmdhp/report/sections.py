"""The parts of a report, made of what a run has left."""

import os.path as osp
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any, Optional

from matplotlib.figure import Figure

from mmdhp.engine.report import amount
from mmdhp.graph.reasons import REASONS

from .figures import (
    Layer,
    Point,
    draw_channels,
    draw_course,
    draw_decision,
    draw_histograms,
    draw_tradeoff,
)
from .measuring import Measured
from .page import Section, details, note, table
from .published import label_of, quality
from .style import NARROW, WIDE, figure_style, save_png, svg_of
from .work_dir import STATES, WorkDir


@dataclass
class Builder:
    """Collects sections, and writes every figure beside the page, too.

    Attributes:
        run (WorkDir): What is reported.
        folder (str): Where the PNG files go.
        metric (str): The measure that figures show; empty without any.
        sections (list[Section]): So far.
        files (list[str]): Paths of the PNG files.
    """

    run: WorkDir
    folder: str
    metric: str
    sections: list[Section] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def add(self, title: str, *parts: str) -> None:
        """Add a section."""
        self.sections.append(Section(title, '\n'.join(parts)))

    def picture(
        self, name: str, label: str, draw: Callable[[float], Figure]
    ) -> str:
        """Draw a figure for a desk, for a phone, and as a file.

        Args:
            name (str): Of the file, without ``.png``.
            label (str): What it shows, in words.
            draw (Callable): Draws it at a width in inches.
        """
        path = osp.join(self.folder, f'{name}.png')
        text = escape(label, quote=True)
        with figure_style():
            wide = draw(WIDE)
            save_png(wide, path)
            both = [
                f'<div class="{kind}">{svg_of(figure, f"{name}-{kind}", text)}'
                '</div>'
                for kind, figure in (('wide', wide), ('narrow', draw(NARROW)))
            ]
        self.files.append(path)
        return f'<figure>{"".join(both)}</figure>'


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
        shape = ' × '.join(map(str, input_shape(builder.run)))
        text = note(
            f'Latency and memory: one input of {shape}, measured with '
            f'{measured.threads} thread(s) on the CPU that made this page; '
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


def add_channels(builder: Builder) -> None:
    """Bars of the channels that are left."""
    layers, what = layers_of(builder.run)
    if not layers:
        return
    kept = sum(layer.kept for layer in layers)
    total = sum(layer.original for layer in layers)
    label = (
        f'Bars: channels left in each of {len(layers)} {what}; in sum {kept} '
        f'of {total}. The numbers stand in the table below.'
    )
    text = f'Output channels of {what}, in the order of use: left / original.'
    if any(layer.searched != layer.original for layer in layers):
        text += (
            ' Light bars are what the search chose from; a line marks the '
            'original.'
        )
    rows = [
        [
            la.name,
            str(la.original),
            str(la.kept),
            f'{la.kept / la.original:.0%}',
        ]
        for la in layers
    ]
    header = [what[:-1], 'original', 'left', 'share']
    builder.add(
        'Kept channels',
        builder.picture(
            'channels', label, lambda width: draw_channels(layers, width)
        ),
        note(text),
        '<details><summary>The same as a table</summary>'
        f'{table(header, rows)}</details>',
    )


def layers_of(run: WorkDir) -> tuple[list[Layer], str]:
    """Bars of the chart, and what they stand for; none before the cut."""
    start, cut = run.course.start, run.course.cut
    if start and cut is not None:
        layers = [
            Layer(name, kept, original, now)
            for (name, now, original), kept in zip(
                start['layers'], cut['layers']
            )
        ]
        return layers, 'layers'
    widened = run.exported.get('widened', {})
    groups = [
        Layer(
            g['name'],
            g['kept'],
            g['total'],
            widened.get(g['name'], g['total']),
        )
        for g in run.exported.get('groups', [])
    ]
    return groups, 'channel groups'


def add_course(builder: Builder) -> None:
    """Curves over iterations."""
    run = builder.run
    course, metric = run.course, builder.metric
    found = [e for e in course.validations if metric in e['metrics']]
    curve = {e['iter']: quality(e['metrics'], metric) for e in found}
    steps, values = list(curve), list(curve.values())
    if not (steps or course.looks or course.training):
        return
    label = 'Curves over iterations: costs that are left'
    if values:
        label += f'; {label_of(metric)}, at last {values[-1]:.2f}'
    parts = [
        builder.picture(
            'course',
            f'{label}; the training loss.',
            lambda width: draw_course(
                course, run.cut_at, (label_of(metric), steps, values), width
            ),
        )
    ]
    if len(course.folders) > 1:
        parts.append(
            note(f'Put together from {len(course.folders)} log folders.')
        )
    builder.add('Course of the run', *parts)


def add_search(builder: Builder) -> None:
    """Histograms over the search, and at the cut."""
    course = builder.run.course
    parts = []
    if course.looks:
        name = course.looks[-1]['histogram']['name']
        parts += [
            builder.picture(
                'histograms',
                f'Map: how many channel units have which {name}, from the '
                'start of the search to its end.',
                lambda width: draw_histograms(course.looks, width),
            ),
            note(
                'The darker, the more channel units have that value.'
                + _threshold_note(course.looks[-1]['histogram'])
            ),
        ]
    if course.cut is not None:
        histogram = course.cut['histogram']
        kept, gone = sum(histogram['kept']), sum(histogram['gone'])
        parts += [
            builder.picture(
                'decision',
                f'Histogram at the cut: {kept} channel units stay, {gone} go.',
                lambda width: draw_decision(histogram, width),
            ),
            note(
                'Kept and removed units overlap where a floor, a divisor or '
                'a ranking inside each group decides.'
            ),
        ]
    if parts:
        builder.add('What the method learned', *parts)


def _threshold_note(histogram: dict) -> str:
    if histogram['threshold'] is None:
        return ''
    return (
        f' The dashed line is the threshold, {histogram["threshold"]:g}: '
        'below it a unit counts as pruned.'
    )


def add_tradeoff(builder: Builder, rows: list[dict[str, str]]) -> None:
    """This run among the figures of papers."""
    run, metric = builder.run, builder.metric
    costs = {name: now / was for name, was, now in costs_of(run)}
    if not rows or 'MACs' not in costs or not fits(rows[0], metric):
        return
    own = Point(
        f'{run.method}, this run',
        100 * costs['MACs'],
        quality(run.metrics, metric),
        True,
    )
    papers = [
        Point(
            row['method'],
            float(row['macs_percent']),
            float(row['value']),
            False,
        )
        for row in rows
    ]
    label = f'{rows[0]["metric"]} ({rows[0]["network"]}, {rows[0]["data"]})'
    sources = sorted({row['source'] for row in rows})
    cells = [
        [p.name, f'{p.macs:.1f}', f'{p.value:.2f}', source]
        for p, source in zip(
            [own, *papers], ['measured', *[row['source'] for row in rows]]
        )
    ]
    builder.add(
        'Beside published figures',
        builder.picture(
            'tradeoff',
            f'Points: {label} against MACs; this run at {own.macs:.1f} % and '
            f'{own.value:.2f}, and {len(papers)} published results.',
            lambda width: draw_tradeoff([own, *papers], label, width),
        ),
        note(
            'Filled: measured here, with the data and the schedule of this '
            f'run. Hollow: as published ({", ".join(sources)}).'
        ),
        '<details><summary>The same as a table</summary>'
        + table(['method', 'MACs %', label, 'source'], cells)
        + '</details>',
    )


def fits(row: dict[str, str], metric: str) -> bool:
    """Whether a measure of a run is the one of a published figure.

    Examples:
        >>> fits({'metric': 'top-1 error'}, 'accuracy/top1')
        True
        >>> fits({'metric': 'PSNR'}, 'Set14/PSNR')
        True
    """
    if row['metric'] == 'top-1 error':
        return metric == 'accuracy/top1'
    return metric.rpartition('/')[2] == row['metric']


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
