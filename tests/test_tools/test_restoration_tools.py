"""test.py, bicubic.py and side_by_side.py on made-up images."""

import math
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from toy import new_name

import mmdhp  # noqa: F401, lets MMagic import
from mmdhp.datasets import imresize

pytest.importorskip('mmagic')

ROOT = Path(__file__).parents[2]
LUMA = np.array([65.481, 128.553, 24.966]) / 255


@pytest.fixture(autouse=True)
def _plain_configs(monkeypatch):
    """Dump configs as they are: to format them takes most of the time."""
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
    )


@pytest.fixture(scope='module')
def tools():
    """The three tools, as modules."""
    folders = [str(ROOT / 'tools'), str(ROOT / 'tools/analysis_tools')]
    sys.path[:0] = folders
    import bicubic
    import side_by_side
    from test import main as test_main

    yield {'bicubic': bicubic, 'side_by_side': side_by_side, 'test': test_main}
    for folder in folders:
        sys.path.remove(folder)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Three pairs of images, all sizes different, with detail in a corner."""
    folder = tmp_path_factory.mktemp('data')
    draw = np.random.default_rng(0)
    for i, shape in enumerate([(64, 80, 3), (72, 64, 3), (88, 68, 3)]):
        image = np.full(shape, 90, np.uint8)
        image[-40:, :36] = draw.integers(0, 256, (40, 36, 3))
        for name, pixels in (
            ('HR', image),
            ('LR_bicubic_X4', imresize(image, 1 / 4)),
        ):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f'{i}.png')
    return folder


@pytest.fixture(scope='module')
def network(tools, data, tmp_path_factory):
    """Small networks: config and checkpoint of each."""
    folder = tmp_path_factory.mktemp('networks')

    def make(base, width, **dataset):
        cfg = Config.fromfile(str(ROOT / 'configs' / f'{base}.py'))
        cfg.model.generator.update(mid_channels=width, num_blocks=1)
        for loader in cfg.test_dataloader:
            loader.update(num_workers=0, persistent_workers=False)
            loader['dataset'].update(data_root=str(data), **dataset)
        cfg.log_level = 'ERROR'
        cfg.experiment_name = new_name()
        cfg.custom_hooks = []
        init_default_scope('mmagic')
        torch.manual_seed(width)
        model = MODELS.build(cfg.model)
        stem = f'{Path(base).stem}_{width}'
        cfg.dump(str(folder / f'{stem}.py'))
        torch.save(model.state_dict(), folder / f'{stem}.pth')
        return str(folder / f'{stem}.py'), str(folder / f'{stem}.pth')

    return make


@pytest.fixture
def run(tools, tmp_path, monkeypatch, capsys):
    """Run a tool; return what it prints."""

    def call(name, *arguments):
        argv = [name, *map(str, arguments), '--work-dir', str(tmp_path / 'w')]
        monkeypatch.setattr(sys, 'argv', argv)
        tool = tools[name]
        (tool if callable(tool) else tool.main)()
        return capsys.readouterr().out

    return call


def psnr_of_luma(image, truth):
    difference = (image.astype(float) - truth) @ LUMA
    mean = (difference[4:-4, 4:-4] ** 2).mean()
    return 10 * math.log10(255**2 / mean)


def read(path):
    return np.asarray(Image.open(path))


def test_a_pruned_networks_row(run, network, data, tmp_path):
    config, checkpoint = network('srresnet/srresnet_x4_sample', 6)
    out = run(
        'test',
        config,
        checkpoint,
        '--show-dir',
        'images',
        '--out',
        tmp_path / 'all.pkl',
    )
    results = mmengine.load(str(tmp_path / 'all.pkl'))
    images = [
        (
            read(tmp_path / f'w/images/test/{i}.png'),
            read(data / f'HR/{i}.png'),
        )
        for i in range(3)
    ]
    expected = sum(psnr_of_luma(*pair) for pair in images) / 3
    assert results['metrics']['PSNR'] == pytest.approx(expected, abs=1e-4)
    assert f'test            3  {expected:.2f}' in out
    model = MODELS.build(Config.fromfile(config).model)
    assert results['params'] == sum(p.numel() for p in model.parameters())
    head = 6 * 3 * 81 + 6 * 6 * 9 * 3  # and convs of block and body
    convs = head + 6 * 24 * 9 * (1 + 4) + 6 * 3 * 9 * 16
    assert results['macs']['conv, linear'] == 128**2 * convs
    assert 'MACs at 3x128x128' in out
    row = [cell.strip() for cell in out.splitlines()[-1].split('|')[1:-1]]
    assert row[:2] == ['srresnet_x4_sample_6', f'{expected:.2f}']
    assert row[2] == f'{results["macs"]["with norms, activations"] / 1e9:.2f}'
    times = results['times']['test'][1:]
    assert float(row[4]) == pytest.approx(sum(times) / 2, abs=0.01)
    assert float(row[5]) > 0


def test_bicubic_is_measured_by_the_config(run, network, data):
    config, _ = network('srresnet/srresnet_x4_sample', 6)
    pairs = []
    for i in range(3):
        low = read(data / f'LR_bicubic_X4/{i}.png')
        pairs.append((imresize(low, 4), read(data / f'HR/{i}.png')))
    expected = sum(psnr_of_luma(*pair) for pair in pairs) / 3
    assert f'test       {expected:.2f}' in run('bicubic', config)


def test_noise_is_measured_without_a_network(run, network):
    config, _ = network(
        'dncnn/dncnn_sigma70_sample', 6, data_prefix={'gt': 'HR'}
    )
    out = run('bicubic', config, '--only', 'Set12')
    assert 'BSD68' not in out
    (row,) = [line for line in out.splitlines() if line.startswith('Set12')]
    # 11.23 dB for noise of 70, and more because the measure clips.
    assert 11.3 < float(row.split()[1]) < 13
    with pytest.raises(SystemExit, match='there is no Set7'):
        run('bicubic', config, '--only', 'Set7')


@pytest.mark.parametrize(
    ('base', 'dataset', 'image', 'first'),
    [
        ('srresnet/srresnet_x4_sample', {}, 'test/1', 'bicubic x4'),
        (
            'dncnn/dncnn_sigma70_sample',
            {'data_prefix': {'gt': 'HR'}},
            'Set12/1',
            'input',
        ),
    ],
)
def test_side_by_side(run, network, tmp_path, base, dataset, image, first):
    original, pruned = (network(base, w, **dataset) for w in (12, 6))
    path = tmp_path / 'picture.png'
    pair = ['--original', *original, '--pruned', *pruned, '--out', path]
    out = run('side_by_side', *pair, '--image', image, '--rounds', 1)

    lines = out.splitlines()[-4:]
    assert lines[0].startswith(f'{first}: ')
    large, small = (line.split()[3] for line in lines[1:3])
    assert float(large) > 2 * float(small)
    left, top, width, height = eval(lines[3].rpartition('at ')[2][:-1])
    assert (width, height) == (32, 32)
    assert left <= 4  # 72x64 pixels, detail from row 32 up to column 36
    assert top >= 32
    assert read(path).shape[1] > 1500


def test_side_by_side_refuses(run, network):
    pair = network('srresnet/srresnet_x4_sample', 6)
    both = ['--original', *pair, '--pruned', *pair, '--rounds', 1]
    with pytest.raises(SystemExit, match='no benchmark Set5.*tests test'):
        run('side_by_side', *both, '--image', 'Set5/1')
    with pytest.raises(SystemExit, match='no image 7, but 3 others: 0, 1, 2'):
        run('side_by_side', *both, '--image', 'test/7')
    with pytest.raises(SystemExit, match='crop 60 0 32 32 .* 80x64'):
        run(
            'side_by_side', *both, '--image', 'test/0', '--crop', 60, 0, 32, 32
        )
