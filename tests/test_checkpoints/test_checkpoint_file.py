"""Files that are damaged, foreign or of another version, one by one."""

import json
import os
import shutil
import zipfile

import pytest
import torch
from mmengine.runner import Runner
from toy import ToyNet, config, train

from mmdhp.checkpoints.checkpoint_file import (
    TRUST,
    problem_of,
    read_checkpoint,
)
from mmdhp.checkpoints.record import KEY, read_record
from mmdhp.models.pruned import build_pruned
from mmdhp.release import folder as release_folder
from mmdhp.surgery.resizing import read_channels


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, 'w'))


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    return train(config(tmp_path_factory.mktemp('run'))).work_dir


@pytest.fixture
def path(tmp_path):
    """A checkpoint as PyTorch writes it."""
    path = tmp_path / 'some.pth'
    torch.save({'state_dict': {'w': torch.rand(500)}, 'meta': {}}, path)
    return path


def refused(path):
    """The message about a file that cannot be read."""
    with pytest.raises(ValueError, match='cannot be read') as raised:
        read_checkpoint(str(path))
    assert f'The checkpoint {path} (' in str(raised.value)
    assert problem_of(str(path)) in str(raised.value)
    return str(raised.value)


def test_whole_files_are_read(path, tmp_path):
    weights = read_checkpoint(str(path))['state_dict']
    old = tmp_path / 'old.pth'
    torch.save(weights, old, _use_new_zipfile_serialization=False)

    assert torch.equal(read_checkpoint(str(old))['w'], weights['w'])


@pytest.mark.parametrize(
    'name', ['iter_6.pth', 'iter_18.pth', 'pruned/pruned.pth']
)
def test_no_file_of_a_run_holds_code(finished, name, monkeypatch):
    monkeypatch.delenv(TRUST, raising=False)
    found = read_checkpoint(f'{finished}/{name}')

    torch.load(f'{finished}/{name}', weights_only=True)
    assert found['state_dict']['stem.weight'].dtype == torch.float32


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint .*no\.pth'):
        read_checkpoint(str(tmp_path / 'no.pth'))


def test_truncated(path):
    content = path.read_bytes()
    for length in (10, 700, len(content) - 30):
        path.write_bytes(content[:length])
        assert 'it is truncated: whoever wrote it' in refused(path)
    path.write_bytes(b'')
    assert '(0 bytes) cannot be read: it is empty' in refused(path)


def test_truncated_file_of_an_older_pytorch(path):
    weights = {'w': torch.rand(500)}
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:900])

    assert 'its content is damaged' in refused(path)


def test_damaged(path):
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith('data/0'))
        offset = archive.getinfo(name).header_offset
    content[offset + 600] ^= 255
    path.write_bytes(content)

    assert f'its part {name} is damaged' in refused(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
        (b'<!DOCTYPE html><html>', 'a web page .*the download has failed'),
        (b'{"channels": 3}', 'no PyTorch checkpoint, but JSON'),
        (b'\x89PNG\r\n\x1a\n', 'no PyTorch checkpoint, but an image'),
        (b'\x00\x01\x02\x03', 'truncated or no PyTorch checkpoint'),
    ],
)
def test_foreign(path, content, message):
    path.write_bytes(content * 9)

    with pytest.raises(ValueError, match=message):
        read_checkpoint(str(path))


def test_foreign_archives(path, tmp_path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('word/document.xml', 'text')
    assert 'an archive, but no PyTorch checkpoint' in refused(path)

    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('net/constants.pkl', b'')
        archive.writestr('net/data.pkl', b'')
    assert 'a TorchScript program' in refused(path)
    assert '(a folder) cannot be read' in refused(tmp_path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([torch.ones(2)], 'it holds a list, not a dict'),
        ({'state_dict': 3}, "its 'state_dict' is a int"),
        ({'epoch': 3, 'loss': 0.5}, r'holds no weights \(but epoch, loss\)'),
        ({}, r'holds no weights \(but nothing\)'),
    ],
)
def test_without_weights(path, content, message):
    torch.save(content, path)

    with pytest.raises(ValueError, match=message):
        read_checkpoint(str(path))


def test_code_in_a_file_does_not_run(path, tmp_path, monkeypatch):
    monkeypatch.delenv(TRUST, raising=False)
    trace = tmp_path / 'trace'
    content = {'state_dict': ToyNet().state_dict(), 'x': Payload(trace)}
    torch.save(content, path)

    for resume in (False, True):
        cfg = config(tmp_path / 'run', load_from=str(path), resume=resume)
        with pytest.raises(ValueError, match=rf'runs code .*{TRUST}=1'):
            train(cfg)
        assert not trace.exists()
    monkeypatch.setenv(TRUST, '1')
    assert read_checkpoint(str(path))['x'].name == str(trace)


def test_a_runner_says_what_is_wrong_with_a_file(finished, tmp_path):
    path = tmp_path / 'iter_6.pth'
    shutil.copy(f'{finished}/iter_6.pth', path)
    os.truncate(path, 3000)
    cfg = config(tmp_path, load_from=str(path))

    for run in (Runner.train, Runner.test):
        with pytest.raises(ValueError, match=r'iter_6.*is truncated'):
            run(Runner.from_cfg(cfg))
    (tmp_path / 'last_checkpoint').write_text(str(path))
    with pytest.raises(ValueError, match=r'iter_6.*is truncated'):
        train(config(tmp_path, resume=True))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'format_version': 2}, 'has format 2, but .* reads up to 1. Update'),
        ({'format_version': 0}, 'has format 0, of an older mmdhp'),
        ({'format_version': 'new'}, "damaged: its format is 'new'"),
        ({'format_version': None}, 'damaged: its format is None'),
        ({'state': None}, 'damaged: its state is None'),
        ({'rng': ...}, 'damaged: it lacks rng. Resume from an earlier'),
        ({'due': ..., 'search': ...}, 'damaged: it lacks search, due'),
    ],
)
def test_records_of_a_search(finished, change, message):
    record = read_checkpoint(f'{finished}/iter_6.pth')[KEY]
    changed = {
        k: v for k, v in {**record, **change}.items() if v is not Ellipsis
    }

    assert read_record({KEY: record})['state'] == 'search'
    with pytest.raises(ValueError, match=message):
        read_record({KEY: changed})


def test_a_search_of_another_version_of_the_method(finished, tmp_path):
    checkpoint = read_checkpoint(f'{finished}/iter_6.pth')
    del checkpoint[KEY]['search']['planned_at']
    torch.save(checkpoint, tmp_path / 'old.pth')
    cfg = config(tmp_path, resume=True, load_from=str(tmp_path / 'old.pth'))

    with pytest.raises(ValueError, match='lacks planned_at.*version of DHP'):
        train(cfg)


# ------------------------------------------------------------- exported files
def exported(finished, tmp_path, **changes):
    """A copy of an exported channels.json, changed."""
    with open(f'{finished}/pruned/channels.json') as file:
        content = {**json.load(file), **changes}
    path = tmp_path / 'channels.json'
    path.write_text(json.dumps(content))
    return path


def test_exported_files_tell_their_version(finished):
    weights = read_checkpoint(f'{finished}/pruned/pruned.pth')

    assert weights['meta']['format_version'] == 1
    channels = read_channels(f'{finished}/pruned/channels.json')
    assert channels['format_version'] == 1


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'format_version': 2}, 'has format 2, but .* reads up to 1'),
        ({'format_version': 0}, 'has format 0, of an older mmdhp'),
        ({'format_version': '1'}, "its format_version is '1', not a number"),
        ({'shapes': None}, 'has no `shapes`, so it was not exported'),
        ({'shapes': {'w': 'wide'}}, 'has no `shapes`, so it was not'),
    ],
)
def test_channels_that_cannot_be_read(finished, tmp_path, changes, message):
    path = exported(finished, tmp_path, **changes)

    with pytest.raises(ValueError, match=message) as raised:
        build_pruned({'type': 'ToyNet'}, str(path))
    assert str(path) in str(raised.value)


def test_channels_that_are_no_such_file(finished, tmp_path):
    path = exported(finished, tmp_path)
    whole = path.read_text()

    assert build_pruned({'type': 'ToyNet'}, str(path)).fc.out_features == 5
    path.write_text(whole[:300])
    with pytest.raises(ValueError, match='no JSON file, or is damaged'):
        read_channels(str(path))
    with pytest.raises(FileNotFoundError, match='There is no .*absent'):
        read_channels(str(tmp_path / 'absent'))
    path.write_text('[]')
    with pytest.raises(ValueError, match='has no `shapes`'):
        read_channels(str(path))


def folders(work_dir):
    return sorted(p.name for p in work_dir.iterdir() if 'pruned' in p.name)


@pytest.mark.parametrize('killed_at', ['write_package', 'config_text'])
def test_an_export_that_fails_leaves_the_last_one(
    tmp_path, monkeypatch, killed_at
):
    runner = train(config(tmp_path))
    hook = next(h for h in runner.hooks if type(h).__name__ == 'PruningHook')
    before = (tmp_path / 'pruned/channels.json').read_text()

    def fail(*_):
        raise OSError('disk full')

    monkeypatch.setattr(release_folder, killed_at, fail)
    with pytest.raises(OSError, match='disk full'):
        hook.export_model(runner)

    assert (tmp_path / 'pruned/channels.json').read_text() == before
    assert 'pruned' in folders(tmp_path)
    assert not [n for n in folders(tmp_path) if n.startswith('.pruned')]


def make(folder, content):
    folder.mkdir()
    (folder / 'file').write_text(content)
    return str(folder)


def test_a_folder_takes_the_place_of_another(tmp_path, monkeypatch):
    old = make(tmp_path / 'pruned', 'old')
    rename = os.rename

    def fail(source, target):
        if str(source).endswith('.pruned_new'):
            raise OSError('denied')
        rename(source, target)

    new = make(tmp_path / '.pruned_new', 'new')
    monkeypatch.setattr(os, 'rename', fail)
    with pytest.raises(OSError, match='denied'):
        release_folder.replace_folder(new, old)
    assert (tmp_path / 'pruned/file').read_text() == 'old'

    monkeypatch.setattr(os, 'rename', rename)
    release_folder.replace_folder(new, old)
    assert (tmp_path / 'pruned/file').read_text() == 'new'
    assert folders(tmp_path) == ['pruned']


def test_a_killed_export_is_cleared_away(tmp_path):
    make(tmp_path / '.pruned_a', 'half')
    make(tmp_path / '.pruned_b_old', 'old')  # killed between two renames
    make(tmp_path / '.pruned_b', 'half')

    release_folder.remove_leftovers(str(tmp_path))

    assert folders(tmp_path) == ['pruned']
    assert (tmp_path / 'pruned/file').read_text() == 'old'
