"""``mmdhp config``: what it writes builds, traces, selects and trains."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from test_docs import blocks
from toy import FINE_TUNE, SHAPE, ToyNet, channels, checkpoint, config, train

from mmdhp.apis.base_facts import metric_name
from mmdhp.cli import main
from mmdhp.engine import PruningOptimWrapperConstructor

DOCS = Path(__file__).resolve().parents[2] / 'docs'
SIZE = ['--input-shape', *map(str, SHAPE)]


def base_of(folder, **changes):
    """Config of the toy without pruning; return its path."""
    cfg = config(folder / 'run')
    cfg.optim_wrapper = {'optimizer': cfg.optim_wrapper.optimizer}
    cfg.pop('custom_hooks')
    for key, value in changes.items():
        if value is None:
            cfg.pop(key)
        else:
            cfg[key] = value
    path = folder / 'base.py'
    cfg.dump(str(path))
    return str(path)


def write(base, out, *arguments, method='dhp', target='0.5'):
    main(
        ['config', str(base), '-o', str(out), '--method', method]
        + ['--target', target, *map(str, arguments)]
    )
    return Config.fromfile(str(out))


def fail(*arguments):
    """Run a command that ends with an error; return the message."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return str(ended.value.code)


@pytest.mark.parametrize('method', ['dhp', 'hsn', 'lwdna', 'oneshot'])
def test_a_written_config_trains_and_exports(tmp_path, method, capsys):
    keeps = method in ('hsn', 'oneshot')
    weights = ['--checkpoint', checkpoint()] if keeps else []
    out = tmp_path / 'mine.py'
    cfg = write(base_of(tmp_path), out, *SIZE, *weights, method=method)
    shown = capsys.readouterr().out
    assert f'Next: mmdhp train {out}' in shown
    assert '% of the MACs' in shown
    runner = train(cfg)
    found = channels(tmp_path / 'run')
    assert found['macs']['ratio'] <= 0.5
    assert found['method'].lower() == method
    assert isinstance(runner.model, ToyNet)


def test_the_search_is_a_share_of_the_base_training(tmp_path):
    cfg = write(base_of(tmp_path), tmp_path / 'a.py', *SIZE)
    (hook,) = cfg.custom_hooks
    assert hook.search == {'max_iters': int(0.2 * FINE_TUNE)}
    epochs = {'by_epoch': True, 'max_epochs': 30}
    base = base_of(tmp_path, train_cfg=epochs)
    cfg = write(base, tmp_path / 'b.py', *SIZE)
    assert cfg.custom_hooks[0].search == {'max_epochs': 6}


def test_trained_weights_are_fine_tuned_at_a_tenth(tmp_path):
    base = base_of(tmp_path)
    arguments = (*SIZE, '--checkpoint', checkpoint())
    cfg = write(base, tmp_path / 'a.py', *arguments, method='oneshot')
    assert cfg.optim_wrapper.optimizer.lr == 0.005
    assert cfg.optim_wrapper.optimizer.momentum == 0.9
    assert cfg.load_from == checkpoint()
    cfg = write(base, tmp_path / 'b.py', *SIZE)
    assert cfg.optim_wrapper.optimizer.lr == 0.05
    assert cfg.get('load_from') is None


def test_what_the_base_has_is_kept(tmp_path):
    wrapper = {
        'type': 'AmpOptimWrapper',
        'constructor': 'mmpretrain.LearningRateDecayOptimWrapperConstructor',
        'optimizer': {'type': 'AdamW', 'lr': 1e-3},
    }
    hooks = [{'type': 'Watch'}]
    base = base_of(tmp_path, optim_wrapper=wrapper, custom_hooks=hooks)
    cfg = write(base, tmp_path / 'a.py', *SIZE, '--divisor', 4)
    kinds = [hook.type for hook in cfg.custom_hooks]
    assert kinds == ['Watch', 'mmdhp.PruningHook']
    found = cfg.optim_wrapper
    assert found.type == 'mmdhp.PruningAmpOptimWrapper'
    assert found.base_constructor.type == wrapper['constructor']
    assert found.optimizer == wrapper['optimizer']
    assert found.pruner.divisor == 4


def test_a_config_may_lie_elsewhere(tmp_path):
    out = tmp_path / 'deep' / 'er' / 'mine.py'
    write(base_of(tmp_path), out, *SIZE)
    assert "_base_ = '../../base.py'" in out.read_text()


GAN = {'constructor': 'x', 'generator': {}, 'discriminator': {}}


@pytest.mark.parametrize(
    ('changes', 'part'),
    [
        ({'optim_wrapper': GAN}, 'its optim_wrapper has no `optimizer`'),
        ({'train_cfg': None}, 'neither max_epochs nor max_iters'),
        ({'train_dataloader': None}, 'it has no train_dataloader'),
        ({'model': None}, 'has no model'),
        (
            {'optim_wrapper': {'type': 'Other', 'optimizer': {'type': 'SGD'}}},
            'its optim_wrapper is Other, but pruning takes the place of',
        ),
    ],
)
def test_an_unfit_base_is_explained(tmp_path, changes, part):
    base, out = base_of(tmp_path, **changes), tmp_path / 'a.py'
    shown = fail('config', base, '-o', out, '--target', 0.5, *SIZE)
    assert shown.startswith('error: ')
    assert part in shown
    assert not out.exists()


def test_a_pruning_config_is_no_base(tmp_path):
    out = tmp_path / 'a.py'
    write(base_of(tmp_path), out, *SIZE)
    more = tmp_path / 'b.py'
    shown = fail('config', out, '-o', more, '--target', 0.5)
    assert 'it has a pruner already' in shown


def test_nothing_is_left_of_a_config_that_cannot_work(tmp_path):
    base, out = base_of(tmp_path), tmp_path / 'a.py'
    shown = fail('config', base, '-o', out, '--target', 0.001, *SIZE)
    assert 'The target 0.001 cannot be reached' in shown
    assert not out.exists()
    out.write_text('mine = 1\n')
    shown = fail(
        'config', base, '-o', out, '--target', 0.001, *SIZE, '--force'
    )
    assert 'cannot be reached' in shown
    assert out.read_text() == 'mine = 1\n'


def test_a_file_is_replaced_on_demand_only(tmp_path):
    base, out = base_of(tmp_path), tmp_path / 'a.py'
    out.write_text('mine = 1\n')
    shown = fail('config', base, '-o', out, '--target', 0.5, *SIZE)
    assert shown.startswith(f'error: {out} exists.')
    assert '--force' in shown
    assert out.read_text() == 'mine = 1\n'
    assert write(base, out, *SIZE, '--force').optim_wrapper.pruner


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (('--method', 'hsn'), 'Give them as --checkpoint PATH'),
        (('--checkpoint', 'no.pth'), 'there is no checkpoint no.pth'),
        ((), 'Give it as --input-shape'),
    ],
)
def test_what_is_missing_is_asked_for(tmp_path, arguments, part):
    base, out = base_of(tmp_path), tmp_path / 'a.py'
    shown = fail('config', base, '-o', out, '--target', 0.5, *arguments)
    assert part in shown
    assert 'Traceback' not in shown


def test_a_checkpoint_that_would_not_be_used_is_refused(tmp_path):
    base, out = base_of(tmp_path), tmp_path / 'a.py'
    weights = ('--checkpoint', checkpoint())
    shown = fail('config', base, '-o', out, '--target', 0.5, *SIZE, *weights)
    assert 'DHP generates its weights' in shown


def test_a_name_that_mmengine_cannot_read_is_refused(tmp_path):
    out = tmp_path / 'net.v2.py'
    shown = fail('config', base_of(tmp_path), '-o', out, '--target', 0.5)
    assert 'have no other dot' in shown


def test_unknown_libraries_and_configs_are_told():
    shown = fail('inspect', 'mmnothing::a.py')
    assert "'mmnothing' is not installed" in shown
    shown = fail('inspect', 'mmdhp::dhp/resnet20_dhp5.py')
    assert 'mmdhp::dhp/resnet20_dhp50.py' in shown


@pytest.mark.parametrize(
    ('evaluator', 'name'),
    [
        ({'type': 'Accuracy'}, 'accuracy/top1'),
        ({'type': 'mmpretrain.Accuracy', 'topk': (5,)}, 'accuracy/top5'),
        ({'type': 'Accuracy', 'thrs': (0.1, 0.2)}, None),
        ({'type': 'PSNR'}, 'PSNR'),
        ({'type': 'CocoMetric', 'metric': ['bbox', 'segm']}, 'coco/bbox_mAP'),
        ({'type': 'CocoMetric', 'metric': 'proposal'}, None),
        ({'type': 'VOCMetric'}, 'pascal_voc/mAP'),
        ({'type': 'MAE'}, None),
    ],
)
def test_metrics_have_the_names_that_are_logged(evaluator, name):
    assert metric_name(evaluator) == name


def attached(cfg):
    """Build a config as the Runner does; return model and pruner."""
    from mmdhp.apis import build_model

    model = build_model(cfg)
    wrapper = cfg.optim_wrapper.to_dict()
    wrapper.pop('constructor')
    if wrapper['pruner']['type'] in ('mmdhp.DHP', 'mmdhp.LWDNA'):
        wrapper['pruner']['embedding_dim'] = 1
    paramwise = wrapper.pop('paramwise_cfg', None)
    built = PruningOptimWrapperConstructor(wrapper, paramwise)(model)
    return model, built.pruner


@pytest.mark.parametrize('method', ['dhp', 'oneshot'])
def test_a_classifier_of_a_library(tmp_path, method):
    pytest.importorskip('mmpretrain')
    base = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
    cfg = write(base, tmp_path / 'a.py', method=method)
    assert cfg.optim_wrapper.pruner.input_shape == (3, 32, 32)
    assert cfg.default_hooks.checkpoint.save_best == 'accuracy/top1'
    assert 'custom_imports' not in cfg
    if method == 'dhp':
        (shown,) = blocks(DOCS / 'command_line.md', 'python')
        assert shown == (tmp_path / 'a.py').read_text()
    released = cfg.get('load_from') or ''
    assert released.endswith('.pth') == (method == 'oneshot')
    _, pruner = attached(cfg)
    assert 0.49 < pruner.ratios(pruner.select())[0] <= 0.5


def test_a_restorer_of_a_library(tmp_path):
    pytest.importorskip('mmagic')
    base = 'mmagic::edsr/edsr_x4c64b16_1xb16-300k_div2k.py'
    cfg = write(base, tmp_path / 'a.py', method='hsn', target='params=0.6')
    assert cfg.optim_wrapper.pruner.input_shape == (3, 49, 49)  # 196 / 4
    assert cfg.optim_wrapper.pruner.regularization == 0.1
    assert cfg.default_hooks.checkpoint.save_best == 'PSNR'
    assert cfg.custom_imports.imports == ['mmdhp']
    assert cfg.custom_hooks[-1].search == {'max_iters': 60000}
    assert cfg.custom_hooks[0].type != 'mmdhp.PruningHook'
    _, pruner = attached(cfg)
    assert pruner.ratios(pruner.select())[1] <= 0.6


def test_a_detector_of_a_library(tmp_path):
    pytest.importorskip('mmdet')
    base = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
    cfg = write(base, tmp_path / 'a.py', '--input-shape', 3, 128, 128)
    backbone = cfg.model.backbone
    assert (backbone.frozen_stages, backbone.norm_eval) == (-1, False)
    assert backbone.init_cfg is None
    assert cfg.optim_wrapper.clip_grad.max_norm == 35
    assert cfg.default_hooks.checkpoint.save_best == 'coco/bbox_mAP'
    model, pruner = attached(cfg)
    assert all(p.requires_grad for p in model.backbone.parameters())
    assert 0.49 < pruner.ratios(pruner.select())[0] <= 0.5
    assert torch.is_tensor(pruner.latent)
