"""Logs of several starts are one course."""

import json

import pytest

from mmdhp.report.logs import (
    Course,
    cut_of_checkpoints,
    environment,
    read_course,
)


def write(folder, history=(), scalars=(), log=''):
    """One time-stamped log folder."""
    (folder / 'vis_data').mkdir(parents=True)
    (folder / f'{folder.name}.log').write_text(log)
    if history:
        text = '\n'.join(map(json.dumps, history))
        (folder / 'pruning_history.jsonl').write_text(text)
    if scalars:
        text = '\n'.join(map(json.dumps, scalars))
        (folder / 'vis_data/scalars.json').write_text(text)


def start(iteration, state='search', version=1):
    return {
        'kind': 'start',
        'iter': iteration,
        'state': state,
        'format_version': version,
    }


def look(iteration, macs=0.5):
    return {'kind': 'look', 'iter': iteration, 'macs': macs}


def test_what_a_resumed_run_does_again_counts_once(tmp_path):
    first = [
        start(0),
        look(5, 0.9),
        look(10, 0.8),
        {'kind': 'cut', 'iter': 10},
    ]
    steps = [{'iter': i, 'loss': 1.0} for i in (4, 8, 12)]
    write(tmp_path / '20260101_000000', first, steps)
    second = [start(6), look(10, 0.7)]
    again = [{'iter': 8, 'loss': 2.0}]
    write(tmp_path / '20260102_000000', second, again)
    (tmp_path / 'pruned').mkdir()
    course = read_course(str(tmp_path))
    assert [(e['iter'], e['macs']) for e in course.looks] == [
        (5, 0.9),
        (10, 0.7),
    ]
    assert course.cut is None
    assert course.series('loss') == ([4, 8], [1.0, 2.0])
    assert course.folders == ['20260101_000000', '20260102_000000']


@pytest.mark.parametrize(
    ('state', 'kept'), [('search', False), ('fine_tune', True)]
)
def test_a_cut_at_the_place_of_resuming(tmp_path, state, kept):
    history = [start(0), {'kind': 'cut', 'iter': 10}, {'kind': 'end'}]
    write(tmp_path / '1', history)
    write(tmp_path / '2', [start(10, state)])
    course = read_course(str(tmp_path))
    assert (course.cut is not None) == kept
    assert not course.ended


def test_a_fresh_start_forgets_earlier_ones(tmp_path):
    write(tmp_path / '1', [start(0), look(5)], [{'iter': 5, 'loss': 1.0}])
    write(tmp_path / '2', [start(0)], [{'iter': 2, 'loss': 3.0}])
    course = read_course(str(tmp_path))
    assert course.looks == []
    assert course.series('loss') == ([2], [3.0])


def test_a_line_that_was_being_written_is_left_out(tmp_path):
    write(tmp_path / '1', [start(0), look(5)])
    path = tmp_path / '1/pruning_history.jsonl'
    path.write_text(f'{path.read_text()}\n{{"kind": "look", "it')
    assert [e['iter'] for e in read_course(str(tmp_path)).looks] == [5]


def test_runs_without_a_history(tmp_path):
    scalars = [
        {'iter': 100, 'epoch': 1, 'loss': 2.0, 'macs_ratio': 0.9},
        {'accuracy/top1': 50.0, 'step': 1, 'time': 0.1},
        {'iter': 200, 'epoch': 2, 'loss': 1.0, 'macs_ratio': 0.8},
        {'accuracy/top1': 60.0, 'step': 2, 'time': 0.1},
    ]
    write(tmp_path / '1', scalars=scalars)
    (tmp_path / 'pruned_start_epoch_1.pth').touch()
    course = read_course(str(tmp_path))
    assert course.series('macs_ratio') == ([100, 200], [0.9, 0.8])
    assert course.validations == [
        {'iter': 100, 'metrics': {'accuracy/top1': 50.0}},
        {'iter': 200, 'metrics': {'accuracy/top1': 60.0}},
    ]
    assert cut_of_checkpoints(str(tmp_path), course) == 100
    (tmp_path / 'pruned_start_epoch_1.pth').unlink()
    assert cut_of_checkpoints(str(tmp_path), Course()) is None
    (tmp_path / 'pruned_start_iter_42.pth').touch()
    assert cut_of_checkpoints(str(tmp_path), course) == 42


def test_a_newer_format_is_refused(tmp_path):
    write(tmp_path / '1', [start(0, version=7)])
    with pytest.raises(ValueError, match='has format 7, but .* reads up to 1'):
        read_course(str(tmp_path))


def test_the_environment_is_the_newest(tmp_path):
    block = (
        'System environment:\n    PyTorch: {}\n    PyTorch details: built:\n'
        '  - GCC 13\n\nRuntime environment:\n    seed: 3\n------\nConfig: x'
    )
    write(tmp_path / '1', log=block.format('2.0'))
    write(tmp_path / '2', log=block.format('2.1'))
    write(tmp_path / '3', log='nothing')
    found = environment(str(tmp_path), ['1', '2', '3'])
    assert found == [('PyTorch', '2.1'), ('seed', '3')]
    assert environment(str(tmp_path), ['3', '4']) == []
