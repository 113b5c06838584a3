"""Processes decide alike from unequal data, or all say that they do not."""

import re

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from ranks import ending, run_ranks, train_rank
from toy import config, hook_of, hsn, lwdna, oneshot, train

METHODS = {'DHP': dict, 'HSN': hsn, 'LWDNA': lwdna, 'OneShot': oneshot}


@HOOKS.register_module(force=True)
class Fault(Hook):
    """Something goes wrong on the last process, and only there."""

    priority = 'HIGHEST'

    def __init__(self, at, what):
        self.at, self.what = at, what

    def before_train(self, runner):
        if not runner.rank or self.what not in ('mask', 'failure'):
            return
        pruner = hook_of(runner, 'PruningHook').pruner
        select = pruner.select

        def other():
            if self.what == 'failure':
                raise ValueError('out of luck')
            keep = select().clone()
            keep[keep.nonzero()[0]] = False
            return keep

        pruner.select = other

    def after_train_iter(self, runner, batch_idx, **kwargs):
        if not runner.rank or runner.iter != self.at:
            return
        hook = hook_of(runner, 'PruningHook')
        if self.what == 'variables':
            for parameter in hook.pruner.program.parameters():
                parameter.data.copy_(parameter.data.flip(0))
        elif self.what == 'nan':
            for parameter in hook.pruner.program.parameters():
                parameter.data.fill_(float('nan'))


def faulty_rank(rank, content):
    """Train; what goes wrong is registered in this module."""
    return train_rank(rank, content)


@pytest.mark.parametrize('method', METHODS)
def test_four_processes_with_unequal_data_prune_alike(tmp_path, method):
    cfg = config(tmp_path, **METHODS[method]())
    cfg.train_dataloader.dataset.size = 22  # 6, 6, 5 and 5 images
    cfg.train_dataloader.sampler.pop('shuffle')

    ends = run_ranks(4, train_rank, cfg.to_dict())

    for end in ends:
        assert isinstance(end, dict), end
        assert torch.equal(end['keep'], ends[0]['keep'])
        assert end['start'] == ends[0]['start']
        for name, value in end['weights'].items():
            if 'running' not in name:  # of each one's own images
                assert torch.equal(value, ends[0]['weights'][name])
    assert len({tuple(end['losses']) for end in ends}) == 4


FAULTS = [
    ('DHP', 'variables'),
    ('DHP', 'nan'),
    ('DHP', 'mask'),
    ('DHP', 'failure'),
    ('HSN', 'variables'),
    ('LWDNA', 'mask'),
    ('OneShot', 'mask'),
]


@pytest.mark.parametrize(('method', 'what'), FAULTS)
def test_every_process_tells_of_a_divergence(tmp_path, method, what):
    cfg = config(tmp_path, **METHODS[method]())
    cfg.custom_hooks.append({'type': 'Fault', 'at': 2, 'what': what})

    ends = run_ranks(2, faulty_rank, cfg.to_dict())

    while what == 'nan' and ends:  # DDP has spread it
        assert re.search('has diverged at iteration', str(ends.pop()))
    if what == 'failure':
        assert str(ends.pop()) == 'out of luck'
    for rank, error in enumerate(ends):
        assert isinstance(error, RuntimeError), error
        shown = rf'rank {rank} (has Progress|keeps \d+ units)'
        assert re.search(f'search disagree: {shown}', str(error))
    assert not (tmp_path / 'pruned').exists()


@pytest.mark.parametrize('method', ['DHP', 'LWDNA', 'HSN'])
def test_two_processes_select_what_one_does(tmp_path, method):
    """With the same global batch; without BatchNorm statistics per process."""
    ends = []
    for processes in (1, 2):
        cfg = config(tmp_path / str(processes), **METHODS[method]())
        if method != 'HSN':  # whose BatchNorms are frozen
            model = cfg.model.get('architecture', cfg.model)
            model.norm = False
        cfg.train_dataloader.dataset.augment = False
        cfg.train_dataloader.batch_size = 4 // processes
        content = cfg.to_dict()
        if processes == 1:
            ends.append(ending(train(Config(content))))
        else:
            ends.append(run_ranks(2, train_rank, content)[0])
    one, two = ends
    assert isinstance(two, dict), two
    assert torch.equal(one['keep'], two['keep'])
    if method != 'HSN':  # whose BatchNorms wake up in the fine-tuning
        for name, value in one['weights'].items():
            torch.testing.assert_close(value, two['weights'][name])
