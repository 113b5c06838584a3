"""tools/train.py and tools/test.py as their users meet them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))

from toy import FINE_TUNE, SEARCH, channels, config, pruner

from mmdhp.cli import common

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **os.environ,
    'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
    'OMP_NUM_THREADS': '1',
    'CUDA_VISIBLE_DEVICES': '-1',
}


@pytest.fixture
def write(tmp_path):
    """Write a config of the toy; return its path."""

    def write_config(by_epoch=False, **changes):
        cfg = config(tmp_path / 'run', by_epoch, **changes)
        cfg.custom_imports = {'imports': ['toy']}
        for key in [key for key in cfg if cfg[key] is None]:
            cfg.pop(key)
        path = tmp_path / 'toy_config.py'
        cfg.dump(str(path))
        return str(path)

    return write_config


def command(tool, *arguments):
    return [sys.executable, str(ROOT / 'tools' / tool), *arguments]


def run(tool, *arguments):
    return subprocess.run(
        command(tool, *arguments),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def kill_when(path, *arguments):
    """Start training and send SIGKILL as soon as a file is there."""
    process = subprocess.Popen(
        command('train.py', *arguments),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while not path.exists() and time.monotonic() < end:
            assert process.poll() is None, 'ended before it was killed'
            time.sleep(0.002)
        assert path.exists()
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def test_a_killed_run_ends_like_an_uninterrupted_one(tmp_path, write):
    file = write()
    options = ['--cfg-options', 'custom_hooks.0.interval=4']
    whole, cut = str(tmp_path / 'whole'), tmp_path / 'cut'
    done = run('train.py', file, '--work-dir', whole, *options)
    assert done.returncode == 0, done.stderr

    arguments = [file, '--work-dir', str(cut), '--resume', *options]
    for name in (
        'iter_6.pth',  # in the search
        f'pruned_start_iter_{SEARCH}.pth',
        f'iter_{SEARCH + 3}.pth',  # in fine-tuning
    ):
        kill_when(cut / name, *arguments)
    done = run('train.py', *arguments)

    assert done.returncode == 0, done.stderr
    assert channels(cut)['groups'] == channels(whole)['groups']
    last = (cut / 'last_checkpoint').read_text()
    assert last == str(cut / f'iter_{SEARCH + FINE_TUNE // 3 * 3}.pth') or (
        Path(last).is_file()
    )
    tested = run(
        'test.py',
        str(cut / 'pruned/pruned_config.py'),
        str(cut / 'pruned/pruned.pth'),
        '--work-dir',
        str(tmp_path / 'test'),
    )
    assert tested.returncode == 0, tested.stderr
    metrics = next((tmp_path / 'test').glob('*/*.json')).read_text()
    assert json.loads(metrics)['score'] == pytest.approx(
        channels(cut)['metrics']['score'], abs=1e-6
    )


# What is wrong -> changes of the config, options, parts of the message.
MISTAKES = {
    'target above 1': (
        {'optim': {'pruner': pruner(target={'macs': 1.4})}},
        ['target macs is 1.4', '(0, 1]'],
    ),
    'target of text': (
        {'optim': {'pruner': pruner(target={'macs': 'half'})}},
        ["target macs is 'half'", 'not a number'],
    ),
    'unknown quantity': (
        {'optim': {'pruner': pruner(target={'flops': 0.5})}},
        ["'flops' is unknown", 'macs, params'],
    ),
    'unreachable target': (
        {'optim': {'pruner': pruner(target={'macs': 0.01})}},
        ['0.01', 'cannot be reached', 'is left'],
    ),
    'unknown method': (
        {'optim': {'pruner': pruner(type='mmdhp.DPH')}},
        ["no 'mmdhp.DPH'", "did you mean 'mmdhp.DHP'?"],
    ),
    'misspelt key of the method': (
        {'optim': {'pruner': pruner(treshold=1e-3)}},
        ["no 'treshold'", "did you mean 'threshold'?"],
    ),
    'misspelt key of the hook': (
        {'hook': {'intervall': 3}},
        ["no 'intervall'", "did you mean 'interval'?"],
    ),
    'misspelt key of the search': (
        {'hook': {'search': {'max_iter': 3}}},
        ["no 'max_iter'", "did you mean 'max_iters'?"],
    ),
    'search in the wrong unit': (
        {'hook': {'search': {'max_epochs': 3}}},
        ['max_epochs=3', 'counts iterations', 'max_iters'],
    ),
    'wrong input shape': (
        {'optim': {'pruner': pruner(input_shape=(4, 9, 11))}},
        ['ToyNet', '(2, 4, 9, 11)'],
    ),
    'nothing to prune': (
        {'model': {'type': 'FixedNet'}},
        ['Nothing in FixedNet can be pruned', 'only'],
    ),
    'no hook': (
        {'custom_hooks': []},
        ['no PruningHook', "custom_hooks=[dict(type='mmdhp.PruningHook')]"],
    ),
    'no data': (
        {'train_dataloader': None},
        ['no train_dataloader', '_base_'],
    ),
    'missing data': (
        {'train_dataloader': {'dataset': {'data_root': 'data/absent'}}},
        ['data/absent', 'docs/datasets.md', 'srresnet_dhp40_sample.py'],
    ),
    'unknown model': (
        {'model': {'type': 'ToyNett'}},
        ['ToyNett is not in the'],
    ),
}


def in_process(monkeypatch, capsys, tool, *arguments):
    """Run a tool's main function here; return what a shell would show."""
    module = __import__(tool)
    monkeypatch.setattr(sys, 'argv', [f'{tool}.py', *arguments])
    with pytest.raises(SystemExit) as raised:
        module.main()
    return str(raised.value.code)


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_explained(mistake, write, monkeypatch, capsys):
    changes, parts = MISTAKES[mistake]

    shown = in_process(monkeypatch, capsys, 'train', write(**changes))

    assert shown.startswith('error: ')
    for part in parts:
        assert part in shown


def test_an_error_is_shown_without_its_traceback(write):
    changes, _ = MISTAKES['misspelt key of the method']

    done = run('train.py', write(**changes))

    assert done.returncode == 1
    assert "error: optim_wrapper.pruner (DHP) has no 'treshold'" in done.stderr
    assert 'Traceback' not in done.stderr + done.stdout


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ValueError, match='not ours'):
        with common.clear_errors():
            raise ValueError('not ours')


def test_a_damaged_checkpoint_is_named(tmp_path, write, monkeypatch, capsys):
    damaged, whole = tmp_path / 'iter_6.pth', tmp_path / 'iter_3.pth'
    torch.save({'state_dict': {'x': torch.zeros(1000)}}, whole)
    damaged.write_bytes(whole.read_bytes()[:2000])
    file = write()

    for tool, arguments in (
        ('test', [file, str(damaged)]),
        ('train', [file, '--resume', str(damaged)]),
    ):
        shown = in_process(monkeypatch, capsys, tool, *arguments)
        assert f'error: {damaged} (2000 bytes) cannot be read' in shown
        assert 'truncated' in shown
        assert 'iter_3.pth' in shown


def test_an_absent_checkpoint_is_named(write, monkeypatch, capsys):
    shown = in_process(monkeypatch, capsys, 'test', write(), 'absent.pth')

    assert shown == 'error: there is no checkpoint absent.pth.'


def test_an_absent_config_is_named(monkeypatch, capsys):
    shown = in_process(monkeypatch, capsys, 'train', 'absent.py')

    assert shown.startswith('error: there is no config absent.py.')


def test_checkpoints_belong_into_the_given_work_dir(tmp_path):
    cfg = config(tmp_path)
    cfg.default_hooks.checkpoint.out_dir = './work_dirs'
    path = tmp_path / 'elsewhere.py'
    cfg.dump(str(path))
    args = SimpleNamespace(
        config=str(path),
        work_dir=str(tmp_path / 'mine'),
        cfg_options=None,
        launcher='none',
        local_rank=0,
    )

    found = common.load_config(args)

    assert found.work_dir == args.work_dir
    assert 'out_dir' not in found.default_hooks.checkpoint
