"""Input that cannot work ends in a message that tells what can."""

import pytest
import torch
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from toy import ToyNet, config, pruner, train

from mmdhp.checkpoints.record import KEY, read_record
from mmdhp.checks.exactness import check_exact
from mmdhp.checks.weights import check_unpruned
from mmdhp.engine import PruningHook
from mmdhp.engine.constructor import build_pruner
from mmdhp.graph import trace


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'interval': 0}, ValueError, 'interval is 0'),
        ({'interval': 2.5}, ValueError, r'interval is 2\.5'),
        ({'optimizer_state': 'old'}, ValueError, "optimizer_state is 'old'"),
        ({'serch': {}}, TypeError, "'serch' .did you mean 'search'"),
        ({'search': {'epochs': 1}}, TypeError, "'epochs' .did you mean 'max"),
    ],
)
def test_arguments_of_the_hook(arguments, error, message):
    with pytest.raises(error, match=message):
        PruningHook(**arguments)


@pytest.mark.parametrize('length', [0, -3, 1.5, True, '7'])
def test_the_search_needs_a_length(tmp_path, length):
    cfg = config(tmp_path, hook={'search': {'max_iters': length}})

    with pytest.raises(ValueError, match=f'max_iters is {length!r}'):
        train(cfg)


@pytest.mark.parametrize(
    ('by_epoch', 'wrong', 'right'),
    [(False, 'max_epochs', 'max_iters'), (True, 'max_iters', 'max_epochs')],
)
def test_the_search_counts_as_the_loop(tmp_path, by_epoch, wrong, right):
    cfg = config(tmp_path, by_epoch, hook={'search': {wrong: 3}})

    with pytest.raises(ValueError, match=rf'search has {wrong}=3.*{right}'):
        train(cfg)


def test_built_schedulers_are_refused(tmp_path):
    cfg = config(tmp_path)
    runner = Runner.from_cfg(cfg)
    runner.cfg.param_scheduler = None

    with pytest.raises(ValueError, match='found 1 built schedulers'):
        runner.train()


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'type': 'mmdhp.DPH'}, KeyError, "did you mean 'mmdhp.DHP'"),
        ({'input_shap': 3}, TypeError, "did you mean 'input_shape'"),
        ({'floor': {}}, TypeError, "'floor' .did you mean 'floors'"),
        ({'maxratio': 1}, TypeError, "'maxratio' .did you mean 'max_ratio'"),
        ({'group': ()}, TypeError, "'group' .did you mean 'groups'"),
        ({'exlude': ()}, TypeError, "'exlude' .did you mean 'exclude'"),
        ({'target': {'macs': True}}, TypeError, 'target macs is True'),
        ({'target': {'macs': '0.5'}}, TypeError, "target macs is '0.5'"),
        ({'target': {'macs': 0.0}}, ValueError, r'target macs is 0\.0'),
        ({'target': {'params': 1.1}}, ValueError, r'target params is 1\.1'),
        ({'target': {'flops': 0.5}}, KeyError, "target 'flops' is unknown"),
        ({'target': 0.5}, TypeError, r'target is 0\.5'),
    ],
)
def test_pruners_that_cannot_be_built(change, error, message):
    with pytest.raises(error, match=message):
        build_pruner(pruner(**change))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model': {'type': 'FixedNet'}}, 'Nothing in FixedNet can be pruned'),
        (
            {'optim': {'pruner': pruner(input_shape=(2, 9, 11))}},
            r'\(2, 2, 9, 11\)',
        ),
        (
            {'optim': {'pruner': pruner(target={'macs': 0.001})}},
            r'target 0\.001 cannot be reached: .* of the original is left',
        ),
        (
            {'optim': {'pruner': pruner(floors={'stem': 0})}},
            r"floors\['stem'\] is 0\. A floor is a number of channels",
        ),
    ],
)
def test_no_training_starts(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(config(tmp_path, **changes))
    assert not list(tmp_path.glob('*.pth'))


def test_a_runner_with_a_strategy_is_refused(tmp_path):
    cfg = config(tmp_path, runner_type='FlexibleRunner', env_cfg={})
    cfg.strategy = {'type': 'SingleDeviceStrategy'}
    with pytest.raises(TypeError, match='found a FlexibleRunner, whose strat'):
        RUNNERS.build(cfg).train()


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    return train(config(tmp_path_factory.mktemp('run')))


def start(tmp_path, path, resume=False, **changes):
    cfg = config(tmp_path, load_from=str(path), resume=resume, **changes)
    return train(cfg)


@pytest.mark.parametrize(
    'name', ['iter_18.pth', 'pruned/pruned.pth'], ids=['run', 'exported']
)
def test_a_search_does_not_start_from_a_pruned_model(finished, tmp_path, name):
    with pytest.raises(ValueError, match=r'pruned already.*norm\.weight'):
        start(tmp_path, f'{finished.work_dir}/{name}')


def test_a_search_starts_from_weights_for_other_classes(tmp_path):
    model = ToyNet()
    model.fc = torch.nn.Linear(12, 7)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'other.pth')

    runner = start(tmp_path / 'run', tmp_path / 'other.pth')

    assert runner.model.fc.out_features == 5


@pytest.mark.parametrize('name', ['iter_6.pth', 'iter_18.pth'])
def test_another_architecture_does_not_resume(finished, tmp_path, name):
    path = f'{finished.work_dir}/{name}'
    model = {'type': 'ToyNet', 'depth': 2}

    with pytest.raises(ValueError, match='2 channel groups, this model 3'):
        start(tmp_path, path, resume=True, model=model)


@pytest.mark.parametrize('name', ['iter_18.pth', 'pruned/pruned.pth'])
def test_another_architecture_is_not_tested(finished, tmp_path, name):
    cfg = config(tmp_path, model={'type': 'ToyNet', 'depth': 2})
    cfg.load_from = f'{finished.work_dir}/{name}'

    with pytest.raises(ValueError, match=r'blocks\.1\.first\.weight'):
        Runner.from_cfg(cfg).test()


@pytest.mark.parametrize(
    'name', ['iter_6.pth', 'iter_18.pth', 'pruned/pruned.pth']
)
def test_checkpoints_of_every_state_are_tested(finished, tmp_path, name):
    cfg = config(tmp_path)
    cfg.load_from = f'{finished.work_dir}/{name}'

    runner = Runner.from_cfg(cfg)
    metrics = runner.test()

    saved = torch.load(cfg.load_from, weights_only=False)['state_dict']
    found = runner.model.state_dict()
    assert all(torch.equal(found[key], saved[key]) for key in saved)
    assert metrics['score'] == metrics['score']


def test_an_ordinary_checkpoint_is_not_resumed(tmp_path):
    path = tmp_path / 'plain.pth'
    torch.save({'state_dict': ToyNet().state_dict(), 'meta': {}}, path)

    with pytest.raises(KeyError, match='not written by a pruning run'):
        start(tmp_path / 'run', path, resume=True)


def test_another_method_is_not_resumed(finished, tmp_path):
    checkpoint = torch.load(
        f'{finished.work_dir}/iter_6.pth', weights_only=False
    )
    checkpoint[KEY]['search']['method'] = 'HSN'
    torch.save(checkpoint, tmp_path / 'other.pth')

    with pytest.raises(ValueError, match="written by 'HSN'"):
        start(tmp_path / 'run', tmp_path / 'other.pth', resume=True)


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        ('damaged', 'is damaged'),
        ({'state': 'melting', 'format_version': 1}, 'is damaged'),
        ({'state': 'search', 'format_version': 99}, 'has format 99'),
    ],
)
def test_records_that_cannot_be_read(record, message):
    with pytest.raises(ValueError, match=message):
        read_record({KEY: record})


def test_a_wrong_graph_is_found_before_the_cut():
    model = ToyNet().eval()
    graph = trace(model, torch.rand(2, 3, 9, 11))
    keep = graph.full()
    keep[0] = False
    key = next(k for k in graph.axis_units if k[0] == 'fc.weight' and k[1])
    graph.axis_units[key] = graph.axis_units[key][::-1].copy()

    with pytest.raises(RuntimeError, match='ToyNet differs from the masked'):
        check_exact(model, graph, keep, (3, 9, 11))
    assert model.fc.in_features == 12


def test_a_full_model_passes_for_unpruned():
    model = ToyNet()
    graph = trace(model, torch.rand(2, 3, 9, 11))

    check_unpruned(model.state_dict(), graph)
    with pytest.raises(ValueError, match=r'norm\.weight: 11 of 12'):
        check_unpruned({'norm.weight': torch.ones(11)}, graph)
