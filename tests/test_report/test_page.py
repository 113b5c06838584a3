"""The page of a run: what it says, and how a real browser shows it."""

import argparse
import json
import re
import shlex
import time
from pathlib import Path

import numpy as np
import pytest
from browser import browser, find_browser
from PIL import Image
from toy import (
    SEARCH,
    SHAPE,
    InterruptedRunError,
    channels,
    checkpoint,
    config,
    lwdna,
    train,
)

from mmdhp.cli import report as command
from mmdhp.report import Options, write_report
from mmdhp.text import amount

FIGURES = ['channels', 'course', 'decision', 'histograms', 'tradeoff']
UNMEASURED = Options(rounds=0)


def interrupted(folder, at):
    cfg = config(folder)
    cfg.custom_hooks.append({'type': 'Interrupt', 'at': at})
    with pytest.raises(InterruptedRunError):
        train(cfg)
    return folder


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Runs in several states."""
    folder = tmp_path_factory.mktemp('runs')
    train(config(folder / 'finished'))
    train(config(folder / 'widened', **lwdna()))
    pruner = {
        'type': 'mmdhp.OneShot',
        'target': {'macs': 0.5},
        'input_shape': SHAPE,
        'min_channels': 2,
    }
    train(
        config(
            folder / 'oneshot',
            load_from=checkpoint(),
            hook={'search': {}},
            optim={'pruner': pruner},
        )
    )
    interrupted(folder / 'search', 7)
    interrupted(folder / 'tuning', SEARCH + 4)
    interrupted(folder / 'resumed', SEARCH - 1)
    time.sleep(1.1)  # log folders are named by the second
    train(config(folder / 'resumed', resume=True))
    cfg = config(folder / 'plain', custom_hooks=[])
    cfg.optim_wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.05}}
    train(cfg)
    return folder


def read(page):
    with open(page, encoding='utf-8') as file:
        return file.read()


def headings(text):
    return re.findall('<h2>(.*?)</h2>', text)


def published_run(runs):
    """A copy of a run in which it measures what papers do."""
    folder = runs / 'published'
    if not folder.exists():
        train(config(folder))
        path = folder / 'pruned/channels.json'
        content = json.loads(path.read_text())
        content['metrics'] = {'accuracy/top1': 92.5}
        path.write_text(json.dumps(content))
    return folder


def test_a_finished_run(runs, tmp_path):
    page = write_report(str(runs / 'finished'), str(tmp_path))
    text, found = read(page), channels(runs / 'finished')
    assert headings(text) == [
        'Costs',
        'Kept channels',
        'Course of the run',
        'What the method learned',
        'Validation',
        'Channels that keep their width',
        'Setup',
    ]
    assert f'<b>{found["macs"]["ratio"]:.1%}</b>' in text
    assert amount(found['params']['pruned']) in text
    assert '<b>latency' not in text
    assert 'latency, ms' in text
    assert 'activations at their peak, MiB' in text
    assert f'{found["metrics"]["score"]:.4g}' in text
    assert 'its channels are an output of the model' in text
    assert 'Not on this page' not in text
    assert 'regularization=0.001' in text  # of the config
    for name in FIGURES[:-1]:
        pixels = np.asarray(Image.open(tmp_path / f'{name}.png'))
        assert pixels.shape[1] == 1140
        assert pixels.std() > 5


def test_numbers_of_the_channels(runs):
    text = read(write_report(str(runs / 'finished'), options=UNMEASURED))
    groups = channels(runs / 'finished')['groups']
    for name, group in (('stem', 0), ('blocks.0.first', 1)):
        kept, total = groups[group]['kept'], groups[group]['total']
        row = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', text)[1]
        cells = re.findall('<td class="n">(.*?)</td>', row)
        assert cells == [str(total), str(kept), f'{kept / total:.0%}']
        assert f'{kept} / {total}' in text  # beside the bar
    assert 'latency' not in text


@pytest.mark.parametrize(
    ('name', 'state', 'lacks', 'has'),
    [
        ('search', 'in search', 'the run is in its search', 'What the method'),
        ('tuning', 'in fine-tuning', 'the run is in its fine-tuning', 'Costs'),
        ('oneshot', 'finished', None, 'What the method learned'),
        ('widened', 'finished', None, 'a line marks the original'),
        ('resumed', 'finished', None, 'Put together from 2 log folders'),
        ('plain', 'a training without pruning', 'has no pruner', 'Validation'),
    ],
)
def test_any_state(runs, tmp_path, name, state, lacks, has):
    text = read(write_report(str(runs / name), str(tmp_path), UNMEASURED))
    assert f'<td>{state}</td>' in text
    assert has in text
    notes = re.search('<aside class="missing">.*?</aside>', text, re.S)
    if lacks is None:
        assert notes is None
    else:
        assert lacks in notes[0]
    cut = re.search('id="decision-', text)
    assert (cut is None) == (name in ('search', 'plain'))


def test_a_run_without_a_history(runs, tmp_path):
    folder = tmp_path / 'old'
    train(config(folder))
    (path,) = folder.glob('*/pruning_history.jsonl')
    path.unlink()
    text = read(write_report(str(folder), options=UNMEASURED))
    assert 'the run has no pruning_history.jsonl' in text
    assert {'Costs', 'Kept channels', 'Course of the run'} <= set(
        headings(text)
    )


def test_an_export_of_an_earlier_run_is_left_out(runs, tmp_path):
    folder = tmp_path / 'again'
    train(config(folder))
    interrupted(folder, 3)
    text = read(write_report(str(folder), options=UNMEASURED))
    assert 'pruned/ is that of an earlier run' in text
    assert 'The run is in search.' in text


def test_networks_that_cannot_be_built(runs, tmp_path):
    folder = tmp_path / 'foreign'
    train(config(folder))
    (path,) = folder.glob('*.py')
    path.write_text(path.read_text().replace("'ToyNet'", "'Nowhere'"))
    text = read(write_report(str(folder)))
    assert re.search('networks cannot be run here .KeyError: .*Nowhere', text)
    path.write_text('1 +')
    text = read(write_report(str(folder), options=UNMEASURED))
    assert re.search(r'cannot be read here \(SyntaxError', text)


def test_beside_published_figures(runs, tmp_path):
    options = Options(rounds=0, published=('ResNet-20', 'CIFAR-10'))
    text = read(write_report(str(published_run(runs)), str(tmp_path), options))
    assert 'Beside published figures' in headings(text)
    assert '3 published results' in text
    assert '7.50' in text  # 92.5 % right
    assert '8.46' in text
    assert (tmp_path / 'tradeoff.png').stat().st_size > 5000


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('nowhere', 'there is no folder .*nowhere; give the work folder'),
        ('.', 'no work folder of a run: it has neither time-stamped'),
    ],
)
def test_folders_without_a_run(tmp_path, path, message):
    with pytest.raises(ValueError, match=message):
        write_report(str(tmp_path / path))


def test_options_are_checked(runs):
    with pytest.raises(ValueError, match='rounds is -1, but'):
        Options(rounds=-1)
    options = Options(0, published=('ResNet-20', 'MNIST'))
    with pytest.raises(ValueError, match='figures for ResNet-20 MNIST; there'):
        write_report(str(runs / 'finished'), options=options)


def test_the_command(runs, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    folder, out = str(runs / 'finished'), str(tmp_path / 'out')
    args = parser.parse_args([folder, '--out', out, '--rounds', '2'])
    assert command.run(args) == 0
    assert capsys.readouterr().out == f'Report: {out}/index.html\n'
    assert 'latency, ms' in read(f'{out}/index.html')


def test_documented_commands_are_accepted():
    text = read(Path(__file__).parents[2] / 'docs/reports.md')
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.add_arguments(parser)
    found = re.findall(r'^mmdhp report (.+)$', text.replace('\\\n', ''), re.M)
    assert len(found) >= 3
    for arguments in found:
        args = parser.parse_args(shlex.split(arguments))
        assert args.work_dir.startswith('work_dirs/')


@pytest.fixture(scope='module')
def page_of_browser(tmp_path_factory):
    if find_browser() is None:
        pytest.skip('no Chromium is installed (Debian: package chromium)')
    with browser(tmp_path_factory.mktemp('profile')) as page:
        yield page


WIDTHS = [400, 1400]
# Not against innerWidth: on a phone, the window grows with what is in it.
CONTENT = 'document.documentElement.scrollWidth'
UNLOADED = """
[...document.images].filter(i => !i.complete || !i.naturalWidth).length
"""
# Figures that show, and whether their lines and letters have any colour.
SHOWN = """
[...document.querySelectorAll('svg')]
  .filter(svg => svg.getBoundingClientRect().width > 100).length
"""
COLOUR = "getComputedStyle(document.querySelector('svg text')).fill"


@pytest.mark.parametrize('width', WIDTHS)
@pytest.mark.parametrize(
    'name', ['finished', 'search', 'oneshot', 'widened', 'plain', 'published']
)
def test_a_real_browser_shows_it(runs, page_of_browser, tmp_path, name, width):
    folder = published_run(runs) if name == 'published' else runs / name
    options = Options(0, ('ResNet-20', 'CIFAR-10'))
    write_report(str(folder), str(tmp_path), options)
    page = page_of_browser
    page.open(tmp_path / 'index.html', width)
    assert page.errors == []
    outside = [u for u in page.requests if not u.startswith('data:')]
    assert outside == [(tmp_path / 'index.html').as_uri()]
    assert page.evaluate(CONTENT) <= width
    assert page.evaluate(UNLOADED) == 0
    figures = len(list(tmp_path.glob('*.png')))
    assert figures >= 1
    assert page.evaluate(SHOWN) == figures
    assert page.evaluate("document.querySelectorAll('svg').length") == (
        2 * figures
    )


def test_both_themes_can_be_read(runs, page_of_browser, tmp_path):
    write_report(str(runs / 'finished'), str(tmp_path), UNMEASURED)
    lightness = {}
    for dark in (False, True):
        page_of_browser.open(tmp_path / 'index.html', 1000, dark=dark)
        colours = [
            page_of_browser.evaluate(COLOUR),
            page_of_browser.evaluate(
                'getComputedStyle(document.body).backgroundColor'
            ),
        ]
        letters, ground = (
            sum(map(int, re.findall(r'\d+', colour)[:3])) for colour in colours
        )
        lightness[dark] = ground
        assert abs(letters - ground) > 250
    assert lightness[False] > lightness[True]


def test_who_cannot_see_is_told(runs, page_of_browser, tmp_path):
    write_report(str(runs / 'finished'), str(tmp_path), UNMEASURED)
    page_of_browser.open(tmp_path / 'index.html', 1000)
    labels = page_of_browser.evaluate(
        "[...document.querySelectorAll('svg, img')]"
        ".map(e => e.getAttribute('aria-label') || e.alt)"
    )
    assert all(len(label) > 30 for label in labels)
    names = page_of_browser.evaluate(
        "[...document.querySelectorAll('th')].map(e => e.scope)"
    )
    assert set(names) == {'col', 'row'}
    ids = re.findall(' id="([^"]+)"', read(tmp_path / 'index.html'))
    assert len(ids) == len(set(ids))


def test_a_browser_notices_what_is_wrong(page_of_browser, tmp_path):
    page = tmp_path / 'index.html'
    page.write_text(
        '<meta name="viewport" content="width=device-width">'
        '<img src="nowhere.png"><div style="width: 900px">x</div>'
        '<script>console.error("bad")</script>'
    )
    page_of_browser.open(page, 400)
    assert len(page_of_browser.errors) >= 2
    assert page_of_browser.evaluate(UNLOADED) == 1
    assert page_of_browser.evaluate(CONTENT) > 400
