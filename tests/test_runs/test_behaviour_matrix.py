"""Every method, in every train loop, with all that a run may have switched on.

Real runs of a tiny network from the search to the exported folder. What other
tests look at in depth is here looked at in every combination: the same facts
must hold in each of them.
"""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner, activation_checkpointing
from ranks import ending, run_ranks, train_rank
from toy import (
    FINE_TUNE,
    SEARCH,
    ToyNet,
    channels,
    config,
    hsn,
    lwdna,
    new_name,
    oneshot,
    same,
    train,
)

METHODS = {'DHP': dict, 'HSN': hsn, 'LWDNA': lwdna, 'OneShot': oneshot}
AMP = {'type': 'mmdhp.PruningAmpOptimWrapper', 'dtype': 'bfloat16'}
FEATURES = {
    'plain': {},
    'amp': {'optim': AMP},
    'accumulation': {'optim': {'accumulative_counts': 2}},
    'clipping': {'optim': {'clip_grad': {'max_norm': 0.1}}},
    'average': {'hooks': [{'type': 'EMAHook', 'momentum': 0.2}]},
    'checkpointing': {'activation_checkpointing': ['blocks.0.first']},
    'compile': {'compile': {'backend': 'toy_counting'}},
    'two processes': {},
    # what copies the model, where its modules are not as they were built
    'checkpointing + average': {
        'activation_checkpointing': ['blocks.0.first'],
        'hooks': [{'type': 'EMAHook', 'momentum': 0.2}],
    },
}
TENSORS = ToyNet().state_dict().keys()


def build(folder, method, by_epoch, feature):
    changes = METHODS[method]()
    extra = dict(FEATURES[feature])
    optim = {**changes.pop('optim', {}), **extra.pop('optim', {})}
    hooks = extra.pop('hooks', [])
    cfg = config(folder, by_epoch, optim=optim, **changes, **extra)
    cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
    return cfg


class Uses:
    """Counts what cannot be seen from the end of a run."""

    def __init__(self, monkeypatch):
        self.recomputed, self.compiled, self.updates = [], [], 0
        checkpoint = activation_checkpointing.checkpoint

        def counted(forward, *inputs):
            if torch.is_grad_enabled():
                self.recomputed.append(len(forward.__self__.weight))
            return checkpoint(forward, *inputs)

        monkeypatch.setattr(activation_checkpointing, 'checkpoint', counted)
        step = torch.optim.SGD.step

        def stepped(optimizer, *args, **kwargs):
            held = optimizer.param_groups[0]['params']
            self.updates += any(p.numel() > 1 for p in held)  # not a trial
            return step(optimizer, *args, **kwargs)

        monkeypatch.setattr(torch.optim.SGD, 'step', stepped)

    def backend(self, module, inputs):
        """A compiler that remembers what it was given."""
        self.compiled += [
            tuple(x.shape) for x in inputs if isinstance(x, torch.Tensor)
        ]
        return module.forward


@pytest.fixture
def uses(monkeypatch):
    """What a run has used of PyTorch and MMEngine."""
    found = Uses(monkeypatch)
    backends = torch._dynamo.backends.registry
    torch._dynamo.reset()
    monkeypatch.setitem(backends._BACKENDS, 'toy_counting', None)
    monkeypatch.setitem(backends._COMPILER_FNS, 'toy_counting', found.backend)
    yield found
    torch._dynamo.reset()


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('by_epoch', [False, True], ids=['iters', 'epochs'])
@pytest.mark.parametrize('feature', FEATURES)
def test_a_run_ends_in_a_small_exported_network(
    tmp_path, cpu_amp, uses, feature, by_epoch, method
):
    cfg = build(tmp_path, method, by_epoch, feature)

    if feature == 'two processes':
        ends = run_ranks(2, train_rank, cfg.to_dict())
        for end in ends:
            assert isinstance(end, dict), end
    else:
        ends = [ending(train(cfg))]

    check_training(ends, method, by_epoch)
    check_structure(ends[0], tmp_path)
    check_feature(feature, ends, method, uses)
    check_export(ends[0], tmp_path)


def check_training(ends, method, by_epoch):
    """Each process has gone through both stages with one model."""
    processes = len(ends)
    search = 0 if method == 'OneShot' else SEARCH
    fine_tune = FINE_TUNE
    if by_epoch:  # an epoch has fewer iterations
        search, fine_tune = search // processes, fine_tune // processes
    for end in ends:
        assert len(end['losses']) == search + fine_tune
        assert all(math.isfinite(loss) for loss in end['losses'])
        assert end['classes'] == {'ToyNet'}
        assert all(ids == end['identities'][0] for ids in end['identities'])
        assert end['weights'].keys() == TENSORS


def check_structure(end, work_dir):
    """Modules, weights, mask and report tell of the same network."""
    found = channels(work_dir)
    reported = {group['name']: group['kept'] for group in found['groups']}
    assert reported == end['kept']
    assert sum(reported.values()) == int(end['keep'].sum())
    for name, stated, real in end['mirrors']:
        assert stated == real, name
    shapes = {name: list(t.shape) for name, t in end['weights'].items()}
    assert shapes['stem.weight'][0] == reported['stem']
    assert shapes['fc.weight'][1] == reported['stem']
    assert shapes['blocks.0.first.weight'][:2] == [
        reported['blocks.0.first'],
        reported['stem'],
    ]
    assert 0.5 - end['dearest'] < found['macs']['ratio'] <= 0.5


def check_feature(feature, ends, method, uses):
    """What was switched on has been at work, in both stages."""
    end = ends[0]
    search = 0 if method == 'OneShot' else SEARCH
    total = search + FINE_TUNE
    amp = 'Amp' if feature == 'amp' else ''
    assert end['wrapper'] == f'{amp}OptimWrapper'
    assert end['clipped'] == (total if feature == 'clipping' else 0)
    if feature == 'two processes':
        assert {e['model'] for e in ends} == {'MMDistributedDataParallel'}
        assert torch.equal(ends[0]['keep'], ends[1]['keep'])
        assert ends[0]['losses'] != ends[1]['losses']  # other images
    if feature == 'accumulation' and method != 'HSN':  # its own optimizer
        assert uses.updates == total // 2
    elif feature == 'plain' and method != 'HSN':
        assert uses.updates == total
    if 'average' in feature:
        assert not same(end['average'], end['weights'])
    widths = [w for w in uses.recomputed if w != end['kept']['blocks.0.first']]
    if 'checkpointing' in feature:
        assert len(widths) == search
        assert len(uses.recomputed) == total
    kept = (end['kept']['stem'], 3, 3, 3)
    assert (kept in uses.compiled) == (feature == 'compile')
    full = (24 if method == 'LWDNA' else 12, 3, 3, 3)
    assert (full in uses.compiled) == (feature == 'compile' and search > 0)


def check_export(end, work_dir):
    """The exported network is the trained one, and measures the same."""
    folder = work_dir / 'pruned'
    exported = torch.load(folder / 'pruned.pth')['state_dict']
    assert same(exported, end['average'] or end['weights'])
    cfg = Config.fromfile(str(folder / 'pruned_config.py'))
    cfg.merge_from_dict({'work_dir': str(work_dir / 'test')})
    cfg.log_level = 'ERROR'
    cfg.load_from = str(folder / 'pruned.pth')
    cfg.experiment_name = new_name()
    metrics = Runner.from_cfg(cfg).test()
    assert metrics == pytest.approx(channels(work_dir)['metrics'], abs=1e-6)
