"""Two processes on the CPU decide alike, or say that they do not."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy import channels, config, hsn, lwdna, same

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return str(server.getsockname()[1])


def environment(**more):
    return {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '-1',
        'PYTHON': sys.executable,
        **more,
    }


@pytest.fixture
def write(tmp_path):
    """Write a config with one more hook; the processes see other images."""

    def write_config(watcher, **changes):
        cfg = config(tmp_path / 'run', **changes)
        cfg.train_dataloader.dataset.size = 15
        cfg.custom_imports = {'imports': ['toy']}
        cfg.custom_hooks.append(watcher)
        cfg.env_cfg = {'dist_cfg': {'backend': 'gloo'}}
        path = tmp_path / 'toy_config.py'
        cfg.dump(str(path))
        return str(path)

    return write_config


@pytest.mark.parametrize(
    'changes', [dict, lwdna, hsn], ids=['dhp', 'lwdna', 'hsn']
)
def test_two_processes_prune_alike(tmp_path, write, changes):
    kind = 'new' if changes is lwdna else 'sliced'
    hook = {'recalibrate': 2, 'optimizer_state': kind}
    done = subprocess.run(
        [
            str(ROOT / 'tools/dist_train.sh'),
            write({'type': 'SaveRank'}, hook=hook, **changes()),
            '2',
        ],
        env=environment(PORT=free_port()),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    first, second = (
        torch.load(tmp_path / f'run/rank_{rank}.pt') for rank in (0, 1)
    )
    assert first['wrapped'] == 'MMDistributedDataParallel'
    assert torch.equal(first['keep'], second['keep'])
    for name, value in first['weights'].items():
        if 'running' not in name:  # statistics of each process's own images
            assert torch.equal(value, second['weights'][name])
    exported = torch.load(tmp_path / 'run/pruned/pruned.pth')['state_dict']
    assert same(exported, first['weights'])
    kept = sum(group['kept'] for group in channels(tmp_path / 'run')['groups'])
    assert kept == int(first['keep'].sum())


def test_processes_that_diverge_are_told(tmp_path, write):
    file, port = write({'type': 'Diverge', 'at': 1}), free_port()
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                str(ROOT / 'tools/train.py'),
                file,
                '--launcher',
                'pytorch',
            ],
            env=environment(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE='2',
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=port,
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        shown = [process.communicate(timeout=60)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for rank, text in enumerate(shown):
        assert processes[rank].returncode == 1
        assert f'search disagree: rank {rank} has Progress(' in text
        assert 'Traceback' not in text
