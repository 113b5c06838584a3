"""What a run notes about its course, and what TensorBoard gets."""

import glob
import json

import pytest
import torch
from toy import (
    FINE_TUNE,
    SEARCH,
    SHAPE,
    InterruptedRunError,
    channels,
    checkpoint,
    config,
    hook_of,
    hsn,
    lwdna,
    train,
)

from mmdhp.engine.history import histogram
from mmdhp.methods import Distribution
from mmdhp.report.logs import read_course


def oneshot():
    return {
        'load_from': checkpoint(),
        'hook': {'search': {}},
        'optim': {
            'pruner': {
                'type': 'mmdhp.OneShot',
                'target': {'macs': 0.5},
                'input_shape': SHAPE,
                'min_channels': 2,
            }
        },
    }


def lines(work_dir):
    (path,) = glob.glob(f'{work_dir}/*/pruning_history.jsonl')
    with open(path) as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize(
    ('changes', 'name', 'search'),
    [
        (dict, '|latent|', SEARCH),
        (hsn, 'P(gate = 1)', SEARCH),
        (lwdna, 'score', SEARCH),
        (oneshot, 'l1 importance', 0),
    ],
    ids=['DHP', 'HSN', 'LWDNA', 'OneShot'],
)
def test_a_run_notes_its_course(tmp_path, changes, name, search):
    train(config(tmp_path, **changes()))
    course, exported = read_course(str(tmp_path)), channels(tmp_path)
    assert course.ended
    assert course.start['method'] == exported['method']
    assert course.start['macs'] == exported['macs']['original']
    assert course.start['params'] == exported['params']['original']
    looked = [5, 10, 12] if search else []
    assert [look['iter'] for look in course.looks] == looked
    units = sum(now for _, now, _ in course.start['groups'])
    for look in course.looks:
        assert look['histogram']['name'] == name
        assert sum(look['histogram']['counts']) == units
    cut = course.cut
    assert (cut['iter'], cut['macs']) == (search, exported['macs']['ratio'])
    assert cut['params'] == pytest.approx(exported['params']['ratio'])
    kept = [group['kept'] for group in exported['groups']]
    assert cut['kept'] == kept
    assert sum(cut['histogram']['kept']) == sum(kept)
    assert sum(cut['histogram']['gone']) == units - sum(kept)
    stem, first, second, fc = cut['layers']
    assert (stem, first, second, fc) == (kept[0], kept[1], kept[0], 5)
    frozen = {name for name, *_ in course.start['frozen']}
    assert frozen == {'fc', 'stem:input'}
    assert course.validations[-1]['iter'] == search + FINE_TUNE
    assert course.validations[-1]['metrics'] == exported['metrics']


@pytest.mark.parametrize('at', [SEARCH - 1, SEARCH + 4])
def test_a_resumed_run_goes_on(tmp_path, at):
    whole = tmp_path / 'whole'
    train(config(whole))
    cut = tmp_path / 'cut'
    cfg = config(cut)
    cfg.custom_hooks.append({'type': 'Interrupt', 'at': at})
    with pytest.raises(InterruptedRunError):
        train(cfg)
    assert not read_course(str(cut)).ended
    train(config(cut, resume=True))
    found, expected = read_course(str(cut)), read_course(str(whole))
    assert (found.looks, found.cut) == (expected.looks, expected.cut)
    assert found.validations == expected.validations
    assert found.ended


def test_a_history_does_not_change_the_search(tmp_path, monkeypatch):
    first = train(config(tmp_path / 'a'))
    monkeypatch.setattr(
        'mmdhp.engine.pruning_hook.History.look', lambda *_: None
    )
    second = train(config(tmp_path / 'b'))
    keeps = [hook_of(r, 'PruningHook').keep for r in (first, second)]
    assert torch.equal(*keeps)


def test_tensorboard_gets_curves_and_histograms(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )

    backends = [{'type': 'TensorboardVisBackend'}]
    train(
        config(
            tmp_path,
            visualizer={'type': 'Visualizer', 'vis_backends': backends},
        )
    )
    (events,) = glob.glob(f'{tmp_path}/*/vis_data/events.*')
    found = EventAccumulator(events, {'histograms': 0})
    found.Reload()
    assert {'macs_ratio', 'params_ratio', 'loss'} <= set(
        found.Tags()['scalars']
    )
    assert found.Scalars('macs_ratio')[-1].value == pytest.approx(
        channels(tmp_path)['macs']['ratio']
    )
    shown = found.Histograms('search/|latent|')
    assert [event.step for event in shown] == [5, 10, 12]
    assert shown[0].histogram_value.num == 32
    # Without the local backend there are no scalars.json: curves are drawn
    # from the history.
    course = read_course(str(tmp_path))
    assert course.training == []
    assert len(course.looks) == 3


def test_a_histogram_counts_every_finite_value_once():
    values = torch.tensor([-1.0, 0.0, 3.0, 3.0, float('nan')])
    keep = torch.tensor([True, False, True, False, True])
    shown = Distribution('z', values, 0.5)
    found = histogram(shown)
    assert (found['low'], found['high']) == (-1.0, 3.0)
    assert found['threshold'] == 0.5
    assert (found['counts'][0], found['counts'][16]) == (1, 1)
    assert (found['counts'][-1], sum(found['counts'])) == (2, 4)
    split = histogram(shown, keep)
    assert (sum(split['kept']), sum(split['gone'])) == (2, 2)
    same = histogram(Distribution('z', torch.zeros(3)))
    assert (same['low'], same['high'], same['counts'][0]) == (0.0, 1.0, 3)
