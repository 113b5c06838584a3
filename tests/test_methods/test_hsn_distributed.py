"""Two processes with half the batch each are one with the whole."""

import multiprocessing

import pytest
import torch
from torch import distributed, nn

from mmdhp.methods import HSN

STEPS = 4


def search(half=None):
    """A few steps; what the controller and its scales are afterwards."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 9, 3),
        nn.BatchNorm2d(9),
        nn.ReLU(),
        nn.Conv2d(9, 7, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(7, 4),
    )
    pruner = HSN({'macs': 0.5}, (3, 9, 11), min_channels=1)
    pruner.attach(model)
    optimizer = torch.optim.Adam(pruner.program.parameters(), lr=1e-2)
    pruner.watch(optimizer)
    pruner.enter(model)
    pruner.push()
    draw = torch.Generator().manual_seed(7)
    torch.manual_seed(5 + (half or 0))  # of the data pipeline: differs
    for _ in range(STEPS):
        images = torch.randn(8, 3, 9, 11, generator=draw)
        labels = torch.randint(4, (8,), generator=draw)
        if half is not None:
            images, labels = (x.chunk(2)[half] for x in (images, labels))
        pruner.set_mode(model)
        nn.functional.cross_entropy(model(images), labels).backward()
        pruner.pull()
        optimizer.step()
        pruner.after_step(1e-2)
    return {**pruner.program.state_dict(), 'alpha': pruner._scaling.alpha}


def process(rank, file, folder):
    distributed.init_process_group(
        'gloo', init_method=f'file://{file}', rank=rank, world_size=2
    )
    torch.save(search(rank), f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


@pytest.mark.skipif(
    not distributed.is_available(), reason='needs torch.distributed'
)
def test_two_processes_are_one(tmp_path):
    context = multiprocessing.get_context('spawn')
    workers = [
        context.Process(
            target=process, args=(rank, tmp_path / 'init', tmp_path)
        )
        for rank in (0, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    first, second = (torch.load(tmp_path / f'{r}.pt') for r in (0, 1))
    whole = search()
    for key, value in whole.items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-5)
    assert not torch.equal(whole['alpha'], torch.ones(2))
