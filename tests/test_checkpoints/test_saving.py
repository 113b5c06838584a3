"""What a killed process leaves is the new checkpoint or the one before."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from toy import (
    FINE_TUNE,
    SEARCH,
    config,
    hook_of,
    hsn,
    same,
    train,
    weights,
)

from mmdhp.checkpoints.checkpoint_file import resume_point
from mmdhp.checkpoints.saving import AtomicBackend, write_atomically


class KilledError(Exception):
    """What a killed run looks like from inside."""


@pytest.fixture
def kill_at(monkeypatch):
    """Stop the process where a file would appear, or before it is written."""

    def install(name, step):
        original = getattr(os, step)

        def fail(first, *arguments):
            path = (
                os.readlink(f'/proc/self/fd/{first}')
                if (step == 'fsync')
                else first
            )
            if Path(path).name == f'.{name}.part':
                raise KilledError
            return original(first, *arguments)

        monkeypatch.setattr(os, step, fail)

    yield install
    monkeypatch.undo()


@pytest.mark.parametrize('step', ['fsync', 'replace'])
@pytest.mark.parametrize('content', ['new', b'\x00new'])
def test_a_file_is_written_whole_or_not_at_all(
    tmp_path, monkeypatch, content, step
):
    file = tmp_path / 'last_checkpoint'
    file.write_text('old')

    def fail(*_):
        raise OSError('killed')

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match='killed'):
        write_atomically(str(file), content)
    assert file.read_text() == 'old'
    monkeypatch.undo()
    write_atomically(str(file), content)
    expected = content.encode() if isinstance(content, str) else content
    assert file.read_bytes() == expected
    assert os.listdir(tmp_path) == ['last_checkpoint']


def test_the_backend_removes_what_is_released_and_not_written_again(tmp_path):
    backend = AtomicBackend()
    paths = [str(tmp_path / 'in' / name) for name in 'abc']
    for path in paths:
        backend.put(b'old', path)
        os.utime(path, (1, 1))
    backend.remove(paths[0])
    backend.remove(paths[1])
    assert all(os.path.exists(path) for path in paths)
    backend.put_text('new', paths[1])
    backend.release()
    assert [os.path.exists(path) for path in paths] == [False, True, True]
    os.utime(paths[1], (1, 1))
    backend.release()
    assert os.path.exists(paths[1])
    with pytest.raises(FileNotFoundError):
        backend.remove(paths[0])


def start(folder, **checkpoint):
    """Config of a run with further arguments of its CheckpointHook."""
    cfg = config(folder)
    cfg.default_hooks.checkpoint.update(checkpoint)
    return cfg


def resumed(cfg):
    cfg = cfg.copy()
    cfg.experiment_name += '_resumed'
    cfg.resume = True
    return train(cfg)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """An uninterrupted run."""
    return train(start(tmp_path_factory.mktemp('whole')))


@pytest.mark.parametrize('step', ['fsync', 'replace'])
@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('iter_6.pth', 'iter_3.pth'),
        (f'pruned_start_iter_{SEARCH}.pth', f'iter_{SEARCH}.pth'),
        ('iter_18.pth', 'iter_15.pth'),
    ],
)
def test_killed_while_saving_with_one_checkpoint_kept(
    tmp_path, whole, kill_at, monkeypatch, name, expected, step
):
    cfg = start(tmp_path, max_keep_ckpts=1)
    kill_at(name, step)
    with pytest.raises(KilledError):
        train(cfg)
    monkeypatch.undo()
    assert not (tmp_path / name).exists()
    found = resume_point(str(tmp_path))
    assert found == str(tmp_path / expected)

    runner = resumed(cfg)

    assert same(weights(runner), weights(whole))
    left = {path.name for path in tmp_path.rglob('*.p*t*')}
    last = f'iter_{SEARCH + FINE_TUNE}.pth'
    start_name = f'pruned_start_iter_{SEARCH}.pth'
    assert {n for n in left if n.startswith('iter_')} == {last}
    assert start_name in left
    assert not any(n.endswith('.part') for n in left)


def test_the_best_checkpoint_stays_until_there_is_a_better_one(
    tmp_path, kill_at, monkeypatch
):
    cfg = start(tmp_path, save_best='score', rule='greater')
    cfg.custom_hooks.append({'type': 'Rising'})
    kill_at('best_score_iter_12.pth', 'replace')
    with pytest.raises(KilledError):
        train(cfg)
    monkeypatch.undo()
    assert (tmp_path / 'best_score_iter_6.pth').exists()


@HOOKS.register_module(force=True)
class Rising(Hook):
    """Every validation is better than the one before."""

    priority = 'VERY_HIGH'

    def after_val_epoch(self, runner, metrics=None):
        metrics['score'] = float(runner.iter)


@pytest.mark.parametrize('marker', ['', 'iter_6', None])
def test_mmengine_alone_resumes_from_the_last_whole_checkpoint(
    tmp_path, whole, marker
):
    cfg = config(tmp_path)
    first = cfg.copy()
    interrupt = {'type': 'Interrupt', 'at': 8}
    first.custom_hooks = [*cfg.custom_hooks, interrupt]
    with pytest.raises(Exception):  # noqa: B017, PT011
        train(first)
    last = tmp_path / 'last_checkpoint'
    last.unlink()
    if marker is not None:
        last.write_text(marker)

    cfg.resume, cfg.load_from = True, None
    runner = Runner.from_cfg(cfg)
    runner.train()

    assert same(weights(runner), weights(whole))
    assert len(hook_of(runner, 'Watch').losses) == SEARCH + FINE_TUNE - 6


def test_a_run_that_saved_nothing_starts_anew(tmp_path):
    cfg = config(tmp_path, **hsn())
    cfg.resume = True  # with load_from: from there
    cfg.load_from = None
    with pytest.raises(ValueError, match='HSN prunes a trained network'):
        train(cfg)
    again = config(tmp_path / 'dhp', resume=True)
    assert hook_of(train(again), 'PruningHook').keep is not None


def test_a_backend_that_the_config_names_is_used(tmp_path):
    cfg = start(tmp_path, backend_args={'backend': 'Counted'})
    from mmengine.fileio import register_backend

    @register_backend('Counted', force=True)
    class Counted(LocalBackend):
        written = []

        def put(self, obj, filepath):
            self.written.append(Path(filepath).name)
            super().put(obj, filepath)

    train(cfg)
    assert 'iter_3.pth' in Counted.written
    assert f'pruned_start_iter_{SEARCH}.pth' in Counted.written


def save(path, seconds):
    torch.save({'state_dict': {'x': torch.arange(1000)}}, path)
    os.utime(path, (seconds, seconds))
    return str(path)


def truncate(path):
    Path(path).write_bytes(Path(path).read_bytes()[:1500])


def test_resuming_takes_the_marked_checkpoint(tmp_path):
    first = save(tmp_path / 'iter_1.pth', 1)
    save(tmp_path / 'iter_2.pth', 2)
    (tmp_path / 'last_checkpoint').write_text(first)

    assert resume_point(str(tmp_path)) == first


@pytest.mark.parametrize('marker', ['', 'damaged', 'absent', None])
def test_resuming_finds_the_newest_whole_checkpoint(tmp_path, marker, capsys):
    save(tmp_path / 'iter_1.pth', 1)
    second = save(tmp_path / 'iter_2.pth', 2)
    damaged = save(tmp_path / 'iter_3.pth', 3)
    save(tmp_path / 'best_acc_iter_3.pth', 4)
    save(tmp_path / '.iter_4.pth.part', 5)
    truncate(damaged)
    os.utime(damaged, (3, 3))
    content = {'damaged': damaged, 'absent': str(tmp_path / 'no.pth')}
    if marker is not None:
        text = content.get(marker, marker)
        (tmp_path / 'last_checkpoint').write_text(text)

    assert resume_point(str(tmp_path)) == second


def test_resuming_with_damaged_checkpoints_only(tmp_path):
    truncate(save(tmp_path / 'iter_1.pth', 1))

    with pytest.raises(
        ValueError, match=r'iter_1\.pth cannot be read: .*without --resume'
    ):
        resume_point(str(tmp_path))


def test_resuming_nothing(tmp_path):
    assert resume_point(str(tmp_path / 'absent')) is None
    assert resume_point(str(tmp_path)) is None


def test_a_moved_run_is_resumed(tmp_path):
    moved = tmp_path / 'moved'
    moved.mkdir()
    path = save(moved / 'iter_1.pth', 1)
    (moved / 'last_checkpoint').write_text('work_dirs/run/iter_1.pth')

    assert resume_point(str(moved)) == path
