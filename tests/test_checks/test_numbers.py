"""Numbers that are no numbers, and networks and data of extreme sizes."""

import math
import re
import time

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from torch import nn
from toy import ToyNet, config, hook_of, hsn, lwdna, pruner, train

from mmdhp.checkpoints.checkpoint_file import read_checkpoint
from mmdhp.checks.numbers import PATIENCE, FiniteWatch, LossWatch
from mmdhp.graph import GraphError, trace
from mmdhp.methods.selection import select, threshold_mask
from mmdhp.surgery import shrink

METHODS = {'dhp': {}, 'hsn': hsn, 'lwdna': lwdna}


@HOOKS.register_module(force=True)
class Poison(Hook):
    """Spoils something before an iteration."""

    priority = 'LOWEST'

    def __init__(self, what, at=7, value=math.nan):
        self.what, self.at, self.value = what, at, value

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter != self.at:
            return
        if self.what == 'batch':
            data_batch['inputs'][1, 0, 2, 3] = self.value
        elif self.what == 'weight':
            with torch.no_grad():
                runner.model.norm.weight[3] = self.value
        elif self.what == 'latent':
            pruner = runner.optim_wrapper.pruner
            start = pruner.graph.groups[1].start
            pruner.latent[start + 2] = self.value
            pruner.push()


def poisoned(tmp_path, what, method='dhp', **changes):
    """Message of a run that was spoilt."""
    more = METHODS[method] and METHODS[method]()
    cfg = config(tmp_path, **{**more, **changes})
    cfg.custom_hooks.append({'type': 'Poison', 'what': what})
    with pytest.raises(RuntimeError, match='has diverged at iter') as raised:
        train(cfg)
    return str(raised.value)


@pytest.mark.parametrize('method', METHODS)
def test_bad_inputs_end_the_search(tmp_path, method):
    text = poisoned(tmp_path, 'batch', method)

    assert 'diverged at iteration 8 (rank 0): the loss is nan' in text
    assert '1 of 4 inputs of this batch contain NaN' in text
    assert 'first not finite: the gradients of the ' in text
    path = re.search(r'last good checkpoint is (\S+): resume', text).group(1)
    assert path.endswith('iter_6.pth')
    state = read_checkpoint(path)['state_dict']
    assert all(v.isfinite().all() for v in state.values())


def test_the_group_of_a_bad_latent_is_named(tmp_path):
    text = poisoned(tmp_path, 'latent')

    assert 'the loss is nan' in text
    assert 'contain NaN' not in text
    # One bad latent spoils the gradients of all within the same step.
    assert 'first not finite: the gradients of the latents of' in text


def test_infinite_weights_end_the_search(tmp_path):
    cfg = config(tmp_path)
    cfg.custom_hooks.append(
        {'type': 'Poison', 'what': 'weight', 'value': math.inf, 'at': 1}
    )

    with pytest.raises(RuntimeError, match='No checkpoint was saved yet'):
        train(cfg)
    assert not list(tmp_path.glob('*.pth'))


def test_no_checkpoint_of_a_lost_search_is_saved(tmp_path):
    runner = Runner.from_cfg(config(tmp_path))
    hook = hook_of(runner, 'PruningHook')
    save = Runner.save_checkpoint
    saved = []

    class Spoil(Hook):
        def after_train_iter(self, runner, batch_idx, **_):
            if runner.iter == 4:
                runner.model.norm.running_mean[0] = math.inf

    def note(self, folder, name, *args, **kwargs):
        save(self, folder, name, *args, **kwargs)
        saved.append(name)

    runner.register_hook(Spoil(), priority='LOWEST')
    runner.save_checkpoint = note.__get__(runner)
    with pytest.raises(RuntimeError, match=r'norm\.running_mean') as raised:
        runner.train()

    assert saved == ['iter_3.pth']
    assert 'iter_3.pth: resume from it' in str(raised.value)
    assert hook.state == 'search'


def test_a_watch_names_what_was_bad_first():
    graph = trace(ToyNet(), torch.rand(2, 3, 9, 11))
    units = graph.num_units
    group = graph.groups[1]
    good, bad = torch.ones(units), torch.ones(units)
    bad[group.start] = math.inf
    watch = FiniteWatch()

    watch.note({'gradients': good, 'latents': good})
    assert watch.found(graph) == ''
    watch.note({'gradients': good, 'latents': bad})
    watch.note({'gradients': good * math.nan, 'latents': good * math.nan})
    watch.note({'gradients': good, 'latents': good})

    assert (
        watch.found(graph) == f'first not finite: the latents of {group.name}'
    )


def test_a_watch_tells_of_all_groups():
    graph = trace(ToyNet(), torch.rand(2, 3, 9, 11))
    watch = FiniteWatch()

    watch.note({'latents': torch.full((graph.num_units,), math.nan)})

    assert 'of all 2 groups' in watch.found(graph)


def test_to_note_a_step_waits_for_no_device():
    vitals = {'latents': torch.ones(50, device='meta')}  # have no values

    watch = FiniteWatch()
    for _ in range(3):
        watch.note(vitals)

    with pytest.raises(RuntimeError, match='meta'):
        watch.found(None)


def test_to_note_a_step_costs_next_to_nothing(tmp_path):
    vitals = {name: torch.rand(4000) for name in ('gradients', 'latents')}
    watch = FiniteWatch()
    watch.note(vitals)
    conv, x = nn.Conv2d(64, 64, 3), torch.rand(8, 64, 32, 32)

    def fastest(function):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    # Less than a tenth of the forward pass of one layer of many.
    assert fastest(lambda: watch.note(vitals)) < 0.1 * fastest(lambda: conv(x))


class Scaled:
    """What a watch asks of a Runner."""

    def __init__(self, scaled):
        graph = trace(ToyNet(), torch.rand(2, 3, 9, 11))
        self.optim_wrapper = self
        self.pruner = type('Pruner', (), {'graph': graph})
        self.is_scaled = scaled
        self.finite = FiniteWatch()
        self.message_hub = type('Hub', (), {'log_scalars': {}})
        self.hooks, self.work_dir, self.iter, self.rank = [], 'none', 0, 0


def test_a_gradient_scaler_may_skip_some_steps():
    runner, watch = Scaled(scaled=True), LossWatch()
    bad = {'loss': torch.tensor(math.inf)}

    for _ in range(3):
        for _ in range(PATIENCE - 1):
            watch.check(runner, {}, bad)
        watch.check(runner, {}, {'loss': 1.0})
    for _ in range(PATIENCE - 1):
        watch.check(runner, {}, bad)
    with pytest.raises(RuntimeError, match='the loss is inf'):
        watch.check(runner, {}, bad)


def test_without_a_scaler_one_is_enough():
    with pytest.raises(RuntimeError, match='the loss is nan'):
        LossWatch().check(Scaled(False), {}, {'loss': math.nan})


# --------------------------------------------------------------- empty groups
def test_no_scores_empty_a_group():
    graph = trace(ToyNet(depth=3), torch.rand(2, 3, 9, 11))
    draw = torch.Generator().manual_seed(0)
    ones = torch.ones(len(graph.groups), dtype=torch.long)

    def cost(keep):
        return int(graph.macs(keep))

    least = threshold_mask(torch.zeros(graph.num_units), graph, 1.0, ones)
    for trial in range(60):
        scores = torch.rand(graph.num_units, generator=draw) ** 9
        group = graph.groups[trial % len(graph.groups)]
        scores[group.start : group.stop] = -trial  # below all others
        budget = cost(least) * (1 + trial / 5)
        keep = (
            select(
                scores,
                graph,
                cost,
                budget,
                ones,
                1 + trial % 3,
                fill=trial % 2,
            )
            if trial % 3 == 0
            else threshold_mask(scores, graph, 0.5, ones)
        )
        widths = graph.widths(keep)
        assert min(kept for kept, _ in widths.values()) >= 1


def test_an_emptied_group_is_refused():
    model = ToyNet()
    graph = trace(model, torch.rand(2, 3, 9, 11))
    keep = graph.full()
    keep[graph.groups[1].start : graph.groups[1].stop] = False
    name = graph.groups[1].name

    with pytest.raises(ValueError, match=f'no channel in {name}; every group'):
        shrink(model, graph, keep)
    assert model.fc.in_features == 12


# -------------------------------------------------------------- extreme sizes
def test_a_validation_set_without_samples(tmp_path):
    cfg = config(tmp_path)
    cfg.val_dataloader.dataset.size = 0

    with pytest.raises(
        ValueError, match='val_dataloader gives no batch: its '
    ):
        train(cfg)


def test_a_training_set_without_a_whole_batch(tmp_path):
    cfg = config(tmp_path, by_epoch=True)
    cfg.train_dataloader.dataset.size = 3
    cfg.train_dataloader.drop_last = True

    with pytest.raises(
        ValueError, match='has 3 samples, and drop_last needs 4'
    ):
        train(cfg)


@pytest.mark.parametrize('method', METHODS)
def test_batches_of_one(tmp_path, method, capsys):
    more = METHODS[method] and METHODS[method]()
    cfg = config(tmp_path, log_level='WARNING', **more)
    cfg.train_dataloader.batch_size = 1

    runner = train(cfg)

    assert hook_of(runner, 'PruningHook').keep is not None
    assert 'in which 1 BatchNorms see a single' in capsys.readouterr().out


@MODELS.register_module(force=True)
class ThinNet(ToyNet):
    """Some layers have a single channel, which must stay."""

    def __init__(self, width=12):
        super().__init__(width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    'first': nn.Conv2d(width, 1, (3, 1), padding=(1, 0)),
                    'second': nn.Conv2d(1, width, 1),
                }
            )
            for _ in range(1)
        )


@pytest.mark.parametrize('method', ['dhp', 'hsn', 'oneshot'])
def test_layers_of_one_channel_stay(tmp_path, method):
    kinds = {
        'dhp': 'mmdhp.DHP',
        'hsn': 'mmdhp.HSN',
        'oneshot': 'mmdhp.OneShot',
    }
    cfg = pruner(type=kinds[method])
    if method != 'dhp':
        del cfg['regularization']
    model = ThinNet()
    from mmdhp.engine.constructor import build_pruner

    method = build_pruner(cfg)
    method.attach(model)
    keep = method.select()
    shrink(model, method.graph, keep)

    assert [g.name for g in method.graph.groups] == ['stem']
    assert model.blocks[0]['first'].weight.shape[0] == 1
    assert model.stem.out_channels < 12
    assert model(torch.rand(1, 3, 9, 11)).shape == (1, 5)


def test_nothing_but_layers_of_one_channel(tmp_path):
    cfg = config(tmp_path)
    cfg.model = {'type': 'ThinNet', 'width': 1}

    with pytest.raises(GraphError, match=r'(?s)Nothing in ThinNet.*single ch'):
        train(cfg)
