"""Runs with memory and latency as targets, alone and in two processes."""

import os
import socket
import sys
from pathlib import Path

import pytest
import torch
from counted import count_elements
from torch import distributed, multiprocessing
from toy import (
    FINE_TUNE,
    SEARCH,
    channels,
    config,
    hook_of,
    pruner,
    same,
    train,
    weights,
)

from mmdhp.costs import from_first
from mmdhp.graph import GraphError

TARGET = {'macs': 0.6, 'memory': 0.8, 'latency': 0.7}
OPTIONS = {'input_shape': (3, 21, 19), 'batch_size': 2}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A folder of its own for what is measured, which is counted."""
    monkeypatch.setenv('MMDHP_CACHE', str(tmp_path / 'cache'))
    return count_elements(monkeypatch)


def latency_config(work_dir, **changes):
    method = pruner(target=TARGET, latency=OPTIONS)
    optim = {'pruner': method}
    return config(work_dir, optim=optim, log_level='INFO', **changes)


def test_a_run_reports_what_was_predicted_and_measured(tmp_path):
    runner = train(latency_config(tmp_path / 'run'))
    summary = channels(tmp_path / 'run')
    assert summary['target'] == TARGET
    assert summary['macs']['ratio'] <= 0.6
    memory, latency = summary['memory'], summary['latency']
    assert 0.4 < memory['ratio'] <= 0.8
    assert memory['ratio'] == memory['pruned'] / memory['original']
    assert 0.4 < latency['predicted']['ratio'] <= 0.7
    assert latency['ratio'] == pytest.approx(latency['predicted']['ratio'])
    assert latency['batch_size'] == 2
    assert latency['input_shape'] == [3, 21, 19]
    assert latency['environment']['torch'] == torch.__version__
    text = Path(runner.logger._log_file).read_text()
    assert 'Latency of 2 x 3x21x19: measured ' in text
    assert '; activation memory: ' in text
    assert ', latency 0.' in text or ' latency 1' in text
    assert 'kernels prefer other widths' not in text


def test_a_run_without_latency_has_a_row_for_memory(tmp_path):
    train(config(tmp_path / 'run'))
    summary = channels(tmp_path / 'run')
    assert summary['memory']['original'] > summary['memory']['pruned'] > 0
    assert 'latency' not in summary


@pytest.mark.parametrize('iteration', [6, SEARCH + 3])
def test_a_resumed_run_has_the_same_table(tmp_path, monkeypatch, iteration):
    whole = train(latency_config(tmp_path / 'whole'))
    monkeypatch.setenv('MMDHP_CACHE', str(tmp_path / 'other'))
    count_elements(monkeypatch, unit=0.02)  # a machine with other times
    cfg = latency_config(tmp_path / 'rest', resume=True)
    cfg.load_from = str(tmp_path / 'whole' / f'iter_{iteration}.pth')
    rest = train(cfg)
    assert rest.iter == SEARCH + FINE_TUNE
    assert same(weights(whole), weights(rest))
    first, second = (channels(tmp_path / n) for n in ('whole', 'rest'))
    assert first['groups'] == second['groups']
    if iteration > SEARCH:  # measured where the run was cut
        assert first['latency']['pruned'] == second['latency']['pruned']


def test_a_prediction_that_does_not_hold_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(
        'mmdhp.methods.Pruner.measure',
        lambda self, keep: {'original': 10.0, 'pruned': 9.0},
    )
    cfg = latency_config(tmp_path / 'run')
    runner = train(cfg)
    text = Path(runner.logger._log_file).read_text()
    assert 'WARNING - Latency of 2 x 3x21x19: measured 9 of 10 ms' in text
    assert 'More than the target of 70.00%' in text
    assert hook_of(runner, 'PruningHook').latency['ratio'] == 0.9


# ------------------------------------------------------------- two processes
def one_of_two(rank, port, folder):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    distributed.init_process_group('gloo', rank=rank, world_size=2)

    def fails():
        raise GraphError(f'rank {rank} is too slow')

    found = [from_first(lambda: {'x': [float(rank)]})]
    try:
        from_first(fails)
    except GraphError as error:
        found.append(str(error))
    torch.save(found, f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform == 'win32', reason='gloo needs another way')
def test_two_processes_know_what_the_first_measures(tmp_path):
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = str(server.getsockname()[1])
    multiprocessing.spawn(one_of_two, (port, str(tmp_path)), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f'{rank}.pt')
        assert found == [{'x': [0.0]}, 'rank 0 is too slow']


def test_alone_nobody_is_asked():
    assert from_first(lambda: 3) == 3
