"""A tracker in MMEngine's Runner: train, track, prune, export, load again."""

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from toy import new_name
from tracking_toy import SMALL

from mmdhp.datasets.tracking.toy_sequences import draw_sequence, make_toy_set

pytest.importorskip('mmpretrain')

ROOT = Path(__file__).parents[2]
TOY = ROOT / 'configs' / 'tracking' / 'dimp_toy.py'


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp('videos')
    make_toy_set(str(root), train=3, test=2, train_frames=20, test_frames=5)
    return root


def config(videos, work_dir, iters=3, file=TOY):
    cfg = Config.fromfile(file)
    model = dict(SMALL, tracker=dict(cfg.model.tracker))
    model['tracker'].update(
        img_sample_size=96, locate_cfg=dict(no_target_min_score=0.0)
    )
    cfg.model = model
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'mmdhp.CropLikeDiMP':
            step.output_size = 96
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[key].dataset.data_root = str(videos)
    for key in ('val_evaluator', 'test_evaluator'):
        cfg[key].outfile_prefix = str(work_dir / 'results')
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.update(max_iters=iters, val_interval=iters)
    cfg.param_scheduler = []
    cfg.default_hooks.checkpoint.interval = iters
    cfg.work_dir = str(work_dir)
    cfg.log_level = 'ERROR'
    cfg.experiment_name = new_name()
    return cfg


def test_a_run_trains_and_tracks(videos, tmp_path):
    runner = Runner.from_cfg(config(videos, tmp_path))
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}

    runner.train()

    after = runner.model.state_dict()
    same = [
        name
        for name, _ in runner.model.named_parameters()
        if torch.equal(before[name], after[name])
    ]
    assert same == []
    cfg = config(videos, tmp_path / 'test')
    cfg.load_from = str(tmp_path / 'iter_3.pth')
    boxes = []
    for _ in range(2):
        cfg.experiment_name = new_name()
        metrics = Runner.from_cfg(cfg).test()
        assert set(metrics) == {
            'sot/success',
            'sot/norm_precision',
            'sot/precision',
        }
        assert all(math.isfinite(v) for v in metrics.values())
        path = tmp_path / 'test' / 'results' / 'boxes' / 'toytest-2.txt'
        boxes.append(path.read_text())
    assert boxes[0] == boxes[1]
    assert len(boxes[0].splitlines()) == 5


@pytest.fixture(scope='module')
def pruned_run(videos, tmp_path_factory):
    """A run from search to export."""
    work_dir = tmp_path_factory.mktemp('pruned')
    file = ROOT / 'configs' / 'dhp' / 'dimp_toy_dhp50.py'
    cfg = config(videos, work_dir, iters=3, file=file)
    cfg.optim_wrapper.pruner.input_shape = (3, 96, 96)
    cfg.custom_hooks[0].update(interval=2, search=dict(max_iters=4))
    runner = Runner.from_cfg(cfg)
    runner.train()
    return work_dir, runner


def test_a_tracker_is_pruned_in_place(pruned_run):
    work_dir, runner = pruned_run
    channels = json.loads((work_dir / 'pruned' / 'channels.json').read_text())
    assert 0.4 < channels['macs']['ratio'] <= 0.5
    model = runner.model
    assert type(model).__name__ == 'DiMP'
    widths = (
        model.backbone.layer2[0].conv2.out_channels,
        model.backbone.layer3[0].conv2.out_channels,
    )
    assert widths[0] < 24 or widths[1] < 48
    assert model.bbox_head.ref3.conv.in_channels == widths[0]
    assert model.bbox_head.test3[0].conv.in_channels == widths[0]
    assert model.bbox_head.ref4.conv.in_channels == widths[1]
    assert model.cls_head.feat_conv.in_channels == widths[1]
    assert model.cls_head.feat_conv.out_channels == 20


def test_an_exported_tracker_reproduces_its_metrics(
    pruned_run, videos, tmp_path
):
    work_dir, _ = pruned_run
    folder = work_dir / 'pruned'
    channels = json.loads((folder / 'channels.json').read_text())
    cfg = Config.fromfile(str(folder / 'pruned_config.py'))
    cfg.load_from = str(folder / 'pruned.pth')
    cfg.work_dir = str(tmp_path)
    cfg.experiment_name = new_name()
    metrics = Runner.from_cfg(cfg).test()
    assert metrics == pytest.approx(channels['metrics'], abs=1e-6)


# -------------------------------------------------------------- tools/track.py
def track(*arguments):
    return subprocess.run(
        [sys.executable, 'tools/track.py', *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('frames')
    frames, boxes = draw_sequence(np.random.default_rng(1), 6)
    for number, image in enumerate(frames):
        cv2.imwrite(str(folder / f'{number + 7}.png'), image)
    (folder / '9.png').write_bytes(b'broken')
    return folder, ','.join(f'{v:g}' for v in boxes[0])


def test_a_folder_of_frames_is_tracked(pruned_run, folder, tmp_path):
    work_dir, _ = pruned_run
    frames, box = folder
    done = track(
        frames,
        f'--box={box}',
        f'--config={work_dir / "pruned" / "pruned_config.py"}',
        f'--checkpoint={work_dir / "pruned" / "pruned.pth"}',
        f'--out={tmp_path / "out" / "drawn.avi"}',
        f'--boxes={tmp_path / "boxes.txt"}',
        '--device=cpu',
    )
    assert done.returncode == 0, done.stderr
    assert 'frame 3: frame unreadable; the box stays.' in done.stdout
    assert 'frame 6/6' in done.stdout
    rows = np.loadtxt(tmp_path / 'boxes.txt', delimiter=',')
    assert rows.shape == (6, 5)
    assert rows[0, :4] == pytest.approx([float(v) for v in box.split(',')])
    assert rows[2, :4].tolist() == rows[1, :4].tolist()
    video = cv2.VideoCapture(str(tmp_path / 'out' / 'drawn.avi'))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 6
    assert video.read()[1].shape == (240, 320, 3)


def test_a_video_is_tracked_by_a_plain_checkpoint(videos, folder, tmp_path):
    cfg = config(videos, tmp_path)
    cfg.dump(str(tmp_path / 'config.py'))
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    torch.save(runner.model.state_dict(), tmp_path / 'plain.pth')
    path = str(tmp_path / 'clip.avi')
    fourcc = cv2.VideoWriter.fourcc(*'MJPG')
    writer = cv2.VideoWriter(path, fourcc, 10, (320, 240))
    frames, _ = draw_sequence(np.random.default_rng(1), 4)
    for image in frames:
        writer.write(image)
    writer.release()

    done = track(
        path,
        f'--box={folder[1]}',
        f'--config={tmp_path / "config.py"}',
        f'--checkpoint={tmp_path / "plain.pth"}',
        '--device=cpu',
    )

    assert done.returncode == 0, done.stderr
    assert '4 frames: ' in done.stdout


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'video': 'nowhere'}, 'there is no video or folder nowhere'),
        ({'box': '1,2,3'}, "'1,2,3' is no box; give four numbers"),
        ({'box': '900,900,5,5'}, 'outside of the frame, which is 320 x 240'),
        ({'config': 'no.py'}, 'there is no config no.py'),
        ({'out': 'drawn.gif'}, 'must end in .mp4 or .avi'),
    ],
    ids=['video', 'box', 'outside', 'config', 'out'],
)
def test_mistakes_are_told(
    pruned_run, folder, change, message, monkeypatch, capsys
):
    work_dir, _ = pruned_run
    options = dict(
        video=folder[0],
        box=folder[1],
        config=work_dir / 'pruned' / 'pruned_config.py',
        checkpoint=work_dir / 'pruned' / 'pruned.pth',
        device='cpu',
    )
    options.update(change)
    video = options.pop('video')
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    arguments = [str(video), *(f'--{k}={v}' for k, v in options.items())]
    monkeypatch.setattr(sys, 'argv', ['track.py', *arguments])
    with pytest.raises(SystemExit) as stop:
        importlib.import_module('track').main()
    assert message in f'{stop.value} {capsys.readouterr().err}'


def make_toy_sot(*arguments):
    return subprocess.run(
        [
            sys.executable,
            'tools/dataset_converters/make_toy_sot.py',
            *map(str, arguments),
            *('--train=1', '--test=2'),
            *('--train-frames=2', '--test-frames=3'),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_toy_sequences_from_the_command_line(tmp_path):
    done = make_toy_sot('--out', tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / 'toytest' / 'toytest-2'
    assert len(list((folder / 'img').iterdir())) == 3
    assert (tmp_path / 'testing_set.txt').read_text().split() == [
        'toytest-1',
        'toytest-2',
    ]


def test_toy_sequences_cut_out_of_photographs(tmp_path):
    photos = tmp_path / 'photos'
    photos.mkdir()
    done = make_toy_sot('--out', tmp_path, '--images', photos)
    assert done.returncode != 0
    assert f'there are no images in {photos}' in done.stderr
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[..., 2] = 255  # only red, which random colours never are
    cv2.imwrite(str(photos / 'red.png'), pixels)
    done = make_toy_sot('--out', tmp_path, '--images', photos)
    assert done.returncode == 0, done.stderr
    frame = tmp_path / 'toytest' / 'toytest-1' / 'img' / '00000001.jpg'
    blue, _, red = cv2.imread(str(frame)).reshape(-1, 3).mean(0)
    assert red - blue > 100


def test_changing_toy_sequences_from_the_command_line(tmp_path):
    boxes = []
    for options in ((), ('--changing',)):
        done = make_toy_sot('--out', tmp_path, *options)
        assert done.returncode == 0, done.stderr
        file = tmp_path / 'toytest' / 'toytest-1' / 'groundtruth.txt'
        boxes.append(np.loadtxt(file, delimiter=','))
    assert np.ptp(boxes[0][:, 2:] / boxes[0][0, 2:]) < 0.05
    assert np.ptp(boxes[1][:, 2:] / boxes[1][0, 2:]) > 0.05


# -------------------------------------------------------------- HSN, template
def test_a_trained_tracker_is_pruned_by_gates(videos, tmp_path):
    trained = tmp_path / 'trained'
    runner = Runner.from_cfg(config(videos, trained, iters=2))
    runner.train()
    file = ROOT / 'configs' / 'hsn' / 'dimp_toy_hsn50.py'
    cfg = config(videos, tmp_path / 'hsn', iters=2, file=file)
    cfg.load_from = str(trained / 'iter_2.pth')
    cfg.optim_wrapper.pruner.input_shape = (3, 96, 96)
    cfg.custom_hooks[0].update(interval=2, search=dict(max_iters=4))
    runner = Runner.from_cfg(cfg)
    runner.train()
    path = tmp_path / 'hsn' / 'pruned' / 'channels.json'
    channels = json.loads(path.read_text())
    assert 0.4 < channels['macs']['ratio'] <= 0.5
    assert channels['method'] == 'HSN'


@pytest.fixture
def template_tracker(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools' / 'analysis_tools'))
    return importlib.import_module('template_tracker')


def test_templates_follow_what_only_moves(template_tracker):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 255, (20, 30, 3), np.uint8)
    target = cv2.GaussianBlur(target, (0, 0), 2)
    tracker = template_tracker.TemplateTracker()
    tracker.template, tracker.box = target, np.array([40.0, 50, 30, 20])
    frame = np.full((120, 160, 3), 128, np.uint8)
    frame[57:77, 49:79] = target
    assert tracker.search(frame).tolist() == [49, 57, 30, 20]


def test_the_template_tracker_is_measured_as_others(
    template_tracker, videos, tmp_path
):
    metrics = template_tracker.measure(config(videos, tmp_path))
    assert 20 < metrics['sot/success'] <= 100
    rows = (tmp_path / 'results' / 'sequences.csv').read_text()
    assert 'toytest-2' in rows
