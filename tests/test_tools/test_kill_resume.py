"""Runs that are killed end as if they had not been; differences are seen."""

import json
import random
import shutil
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools/dev'))

import kill_resume
from _victim import Calls
from kill_resume import Kill, Kind, differences, moment, possible


@pytest.fixture(scope='module')
def lives(tmp_path_factory):
    """Folder of a few killed runs, and the number of those that differ."""
    folder = tmp_path_factory.mktemp('lives')
    arguments = ['--kills', '4', '--methods', 'DHP', '--loops', 'iterations']
    found = kill_resume.main([*arguments, '--work-dir', str(folder)])
    return folder, found


def test_killed_runs_end_as_the_others(lives):
    folder, differ = lives
    assert differ == 0
    assert len(list(folder.glob('life_*'))) > 0
    calls = json.loads(
        (folder / 'DHP_iterations_whole/calls.json').read_text()
    )
    assert all(calls[phase] for phase in ('search', 'transition', 'write'))


def test_a_difference_is_seen(lives, tmp_path):
    whole, other = lives[0] / 'DHP_iterations_whole', tmp_path / 'other'
    shutil.copytree(whole, other)
    assert differences(str(other), str(whole)) == []

    path = other / 'iter_20.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['state_dict']['fc.bias'][0] += 1e-6
    checkpoint['mmdhp']['keep'][0] ^= True
    torch.save(checkpoint, path)
    (other / 'last_checkpoint').write_text(str(path))

    found = differences(str(other), str(whole))
    assert len(found) == 2
    assert 'fc.bias' in found[1] or 'fc.bias' in found[0]


def test_moments_are_those_that_a_run_still_has():
    kind = Kind('x', '', '', dict.fromkeys(kill_resume.EVERYWHERE, 100))
    kind.calls['seconds'] = 5.0
    done = [Kill('x', 'fine-tune', False, 'iter_15.pth')]
    assert not possible(kind, 'resume', [])
    assert possible(kind, 'resume', done)
    assert not possible(kind, 'search', done)
    assert possible(kind, 'export', done)
    draw = random.Random(0)
    drawn = [moment(draw, kind, 'write', done) for _ in range(200)]
    assert 1 <= min(drawn) < 5 < 45 < max(drawn) <= 50
    drawn = [moment(draw, kind, 'clock', []) for _ in range(200)]
    assert 0 <= min(drawn) < 1 < 4 < max(drawn) <= 5


def test_calls_belong_to_the_innermost_phase(monkeypatch):
    killed = []
    monkeypatch.setattr(
        'os.kill', lambda *_: killed.append(dict(calls.counts))
    )
    calls = Calls('write', 2)
    calls.marks = {
        id(outer.__code__): 'step',
        id(inner.__code__): 'write',
        id(cut.__code__): 'cut',
    }
    sys.setprofile(calls)
    outer()
    cut()
    outer()
    sys.setprofile(None)
    assert calls.counts['search'] == 2  # itself and len
    assert calls.counts['fine-tune'] == 2
    assert calls.counts['resume'] == 1
    assert calls.counts['write'] == 4
    assert [counts['write'] for counts in killed] == [2]


def outer():
    len('')
    inner()


def inner():
    len('')


def cut():
    pass
