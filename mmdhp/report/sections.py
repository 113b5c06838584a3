"""The parts of a report that are figures."""

from .builder import Builder
from .drawing.figures import (
    Layer,
    draw_channels,
    draw_course,
    draw_decision,
    draw_histograms,
)
from .drawing.page import note, table
from .drawing.tradeoff import Point, draw_tradeoff
from .published import label_of, quality
from .tables import costs_of
from .work_dir import WorkDir


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
                'The stronger the blue, the more units have that value.'
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
