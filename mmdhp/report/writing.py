"""Writes the report of a run: a page and its figures as files."""

import os
import os.path as osp
from dataclasses import dataclass
from typing import Optional

import torch
from mmengine.runner import load_checkpoint
from torch import nn

from mmdhp.text import amount

from .builder import Builder
from .drawing.page import Section, document, image, missing, note, tiles
from .measuring import Measured, measure, original_model
from .published import label_of, published_for, published_rows, quality
from .restoration import (
    detail_of,
    draw_panels,
    find_image,
    make_panels,
    restores_images,
)
from .runs import read_run
from .sections import (
    add_channels,
    add_course,
    add_search,
    add_tradeoff,
    fits,
)
from .tables import (
    add_costs,
    add_frozen,
    add_metrics,
    add_setup,
    costs_of,
    input_shape,
)
from .work_dir import STATES, WorkDir, read_work_dir

PAGE = 'index.html'


@dataclass(frozen=True)
class Options:
    """What a report shows besides what a run has left.

    Args:
        rounds (int): Timed passes of the original and the pruned network;
            with 0, nothing is measured. Defaults to 15.
        published (tuple[str, str], optional): Network and data of the figures
            of papers; by default those that the config names.
        original (str, optional): Checkpoint of the original restoration
            network, for images. By default only the pruned one's are shown.
        image (str): ``BENCHMARK/NAME`` or ``BENCHMARK`` of the test data.
            Defaults to the first.
    """

    rounds: int = 15
    published: Optional[tuple[str, str]] = None
    original: Optional[str] = None
    image: str = ''

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ValueError(
                f'rounds is {self.rounds}, but a number of timed passes of '
                'at least 0 is needed; 0 measures nothing.'
            )


def write_report(
    work_dir: str,
    out: Optional[str] = None,
    options: Optional[Options] = None,
) -> str:
    """Write a page about a run, finished or not, and its figures as PNG.

    The page is one file that needs no network and no other file.

    Args:
        work_dir (str): Folder of the run.
        out (str, optional): Folder to write. Defaults to ``WORK_DIR/report``.
        options (Options, optional): See :class:`Options`.

    Returns:
        str: Path of the page.

    Raises:
        ValueError: If there is no run in the folder, or no published figures
            of that name.
    """
    options = options or Options()
    run = read_work_dir(work_dir)
    rows = _published(run, options)
    folder = out or osp.join(work_dir, 'report')
    os.makedirs(folder, exist_ok=True)
    measured = _measured(run, options)
    builder = Builder(run, folder, choose_metric(run, rows))
    add_costs(builder, measured)
    add_channels(builder)
    add_course(builder)
    add_search(builder)
    add_tradeoff(builder, rows)
    _add_images(builder, options)
    add_metrics(builder)
    add_frozen(builder)
    add_setup(builder)
    _note_stage(run)
    head = [tiles(_key_figures(builder, measured)), missing(run.missing)]
    text = document(run.name, _lead(run), head, builder.sections)
    page = osp.join(folder, PAGE)
    with open(page, 'w', encoding='utf-8') as file:
        file.write(text)
    return page


def choose_metric(run: WorkDir, rows: list[dict[str, str]]) -> str:
    """The measure that figures show; empty without any.

    Args:
        run (WorkDir): A run.
        rows (list[dict]): Published figures to stand beside, perhaps none.
    """
    names = list(run.metrics or run.course.metrics)
    wanted = [name for name in names if rows and fits(rows[0], name)]
    if rows:  # 'Set5/PSNR' rather than the PSNR of another benchmark
        data = rows[0]['data'].partition(' ')[0]
        wanted = [n for n in wanted if n.startswith(f'{data}/')] or wanted
    known = [n for n in names if n.endswith(('accuracy/top1', 'PSNR'))]
    return next(iter([*wanted, *known, *names]), '')


def _published(run: WorkDir, options: Options) -> list[dict[str, str]]:
    if options.published is not None:
        return published_rows(*options.published)
    if run.cfg is None or not run.method:
        return []
    return published_for(run.cfg, run.config)


def _lead(run: WorkDir) -> str:
    if not run.method:
        return f'This is {STATES[run.state]}.'
    target = f', target: {run.target}' if run.target else ''
    return f'Pruned by {run.method}{target}. The run is {STATES[run.state]}.'


def _note_stage(run: WorkDir) -> None:
    """Say, in place, what a run that is not finished cannot show."""
    if run.state == 'search':
        run.missing.append(
            'Costs, kept channels and the pruned network: the run is in its '
            'search, or was stopped there. Resume it, and make the page '
            'again.'
        )
    elif run.state == 'fine_tune':
        run.missing.append(
            'The exported network and its latency: the run is in its '
            'fine-tuning, or was stopped there.'
        )
    elif run.state == 'plain':
        run.missing.append(
            'Everything about pruning: the config has no pruner.'
        )
    if not run.metrics:
        run.missing.append('Measures: the run has not been validated yet.')


def _key_figures(
    builder: Builder, measured: Optional[Measured]
) -> list[tuple[str, str, str]]:
    found = [
        (name, f'{now / was:.1%}', f'{amount(now)} of {amount(was)}')
        for name, was, now in costs_of(builder.run)
        if name in ('MACs', 'parameters')
    ]
    run, metric = builder.run, builder.metric
    if run.state == 'search' and run.course.looks:
        look = run.course.looks[-1]
        found.append(('MACs, so far', f'{look["macs"]:.1%}', 'in the search'))
    if measured is not None:
        was, now = measured.latency
        text = f'{now:.2f} ms of {was:.2f} ms'
        found.append(('latency', f'{now / was:.1%}', text))
    if metric in run.metrics:
        value = f'{quality(run.metrics, metric):.2f}'
        found.append((label_of(metric), value, 'last validation'))
    return found


def _measured(run: WorkDir, options: Options) -> Optional[Measured]:
    """Latency and memory, if both networks can be built here."""
    if not run.exported or not options.rounds or run.cfg is None:
        return None
    try:
        models = [original_model(run.cfg), read_run(run.path).build()]
        return measure(models, input_shape(run), options.rounds)
    except Exception as error:  # users' code builds the networks
        run.missing.append(
            'Latency and memory: the networks cannot be run here '
            f'({_brief(error)}).'
        )
        return None


def _brief(error: Exception) -> str:
    text = ' '.join(str(error).split()).partition('. ')[0]
    return f'{type(error).__name__}: {text[:200]}'


def _add_images(builder: Builder, options: Options) -> None:
    """Before and after, of a restoration network that is finished."""
    run = builder.run
    if run.cfg is None or not run.exported or not restores_images(run.cfg):
        return
    try:
        section = _images(builder, options)
    except Exception as error:  # data and networks are the user's
        run.missing.append(
            f'Images before and after: {_brief(error)}. They need the test '
            'data of the config, reached from the folder that the run was '
            'started in.'
        )
    else:
        builder.sections.append(section)


def _images(builder: Builder, options: Options) -> Section:
    run = builder.run
    assert run.cfg is not None
    sample, metric = find_image(run.cfg, options.image)
    models: dict[str, nn.Module] = {}
    if options.original is not None:
        models['original'] = _load(original_model(run.cfg), options.original)
    pruned = osp.join(run.path, 'pruned', 'pruned.pth')
    models['pruned'] = _load(read_run(run.path).build(), pruned)
    with torch.no_grad():
        panels = make_panels(models, sample, metric, max(options.rounds, 1))
    crop = detail_of(panels[-1].image)
    path = osp.join(builder.folder, 'images.png')
    draw_panels(panels, crop, path)
    builder.files.append(path)
    left, top, width, height = crop
    shown = ''.join(
        image(
            panel.image[top : top + height, left : left + width],
            f'Detail of the {panel.title}',
            f'{panel.title}\n{panel.text}',
        )
        for panel in panels
    )
    text = (
        f'A detail of {width} × {height} pixels, where the image varies most. '
        'PSNR, MACs and time are those of the whole image.'
    )
    if options.original is None:
        text += ' Give the checkpoint of the original network to see it, too.'
    return Section(
        'Before and after', f'<div class="panels">{shown}</div>{note(text)}'
    )


def _load(model: nn.Module, path: str) -> nn.Module:
    load_checkpoint(model, path, map_location='cpu', strict=True)
    return model.eval()
