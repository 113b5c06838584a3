"""Training data of the search, and a gradient scaler in it."""

import math

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from toy import FINE_TUNE, SEARCH, config, hook_of, hsn, train


@pytest.fixture
def batches():
    """Size and images of every batch that is trained on."""
    seen = []

    @HOOKS.register_module(force=True)
    class Batches(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append(data_batch['inputs'].clone())

    return seen


def build(folder, by_epoch, search):
    cfg = config(folder, by_epoch, **hsn())
    cfg.custom_hooks[0].search.update(search)
    cfg.custom_hooks.append({'type': 'Batches'})
    return cfg


@pytest.mark.parametrize('by_epoch', [False, True], ids=['iters', 'epochs'])
def test_the_search_sees_a_subset(tmp_path, batches, by_epoch):
    changes = {'batch_size': 5, 'dataset': {'augment': False}}
    search = {'samples': 10, 'dataloader': changes}
    runner = train(build(tmp_path, by_epoch, search))
    length = len(batches) - FINE_TUNE
    assert length == (2 * SEARCH // 4 if by_epoch else SEARCH)
    assert {len(images) for images in batches[:length]} == {5}
    known = {tuple(i.flatten().tolist()) for b in batches[:length] for i in b}
    assert len(known) == 10  # augmented images would all differ
    whole = runner.train_dataloader.dataset
    original = {tuple(i.flatten().tolist()) for i in whole.images}
    assert known < original
    assert {len(images) for images in batches[length:]} == {4}
    rest = {tuple(i.flatten().tolist()) for b in batches[length:] for i in b}
    assert not rest & original
    assert runner.train_loop.max_iters == runner.iter


@pytest.mark.parametrize('samples', [0, 17, True, 2.0])
def test_samples_are_checked(tmp_path, batches, samples):
    cfg = build(tmp_path, False, {'samples': samples})
    with pytest.raises(
        ValueError, match=rf'samples is {samples}, but a whole'
    ):
        train(cfg)


def test_a_gradient_scaler_in_the_search(tmp_path, cpu_amp):
    """It halves its scale at overflows; α and controller stay finite."""

    class Overflowing(torch.amp.GradScaler):
        calls = 0

        def scale(self, loss):
            self.calls += 1
            factor = float('inf') if self.calls in (1, 4) else 1.0
            return super().scale(loss) * factor

    @HOOKS.register_module(force=True)
    class RealScaler(Hook):
        scales = []

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            wrapper = runner.optim_wrapper
            if batch_idx == 0 and hasattr(wrapper, 'pruner'):
                scaler = Overflowing('cpu', init_scale=2.0**10)
                wrapper.loss_scaler = scaler

        def after_train_iter(self, runner, *args, **kwargs):
            wrapper = runner.optim_wrapper
            if hasattr(wrapper, 'pruner'):
                step = int(wrapper.pruner.program.step)
                self.scales.append((step, wrapper.loss_scaler.get_scale()))

    changes = hsn()
    changes['optim'] |= {
        'type': 'mmdhp.PruningAmpOptimWrapper',
        'dtype': 'bfloat16',
    }
    cfg = config(tmp_path, **changes)
    cfg.custom_hooks.append({'type': 'RealScaler'})
    runner = train(cfg)
    assert RealScaler.scales[:5] == [
        (0, 2.0**9),  # skipped
        (1, 2.0**9),
        (2, 2.0**9),
        (2, 2.0**8),  # skipped
        (3, 2.0**8),
    ]
    pruner = hook_of(runner, 'PruningHook').pruner
    assert all(math.isfinite(v) for v in pruner.statistics().values())
