"""Detectors of MMDetection, from their configs to the exported folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image, ImageDraw
from toy import hook_of, new_name, weights

pytest.importorskip('mmdet')

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/dhp/retinanet_r18_coco_dhp50.py'
CLASSES = ('box', 'disc')
IMAGES, SIZE = 6, (72, 60)  # width, height
SEARCH, FINE_TUNE = 1, 2  # epochs

# Detects with an exported model where mmdhp cannot be imported.
ALONE = """
import sys
sys.modules['mmdhp'] = None
import torch
folder, image, out = sys.argv[1:]
from mmengine.config import Config
cfg = Config.fromfile(f'{folder}/pruned_config.py')  # imports its loader
from mmdet.apis import inference_detector, init_detector
model = init_detector(cfg, f'{folder}/pruned.pth', device='cpu')
found = inference_detector(model, image).pred_instances
torch.save([type(model).__name__, model.dataset_meta['classes'],
            found.bboxes, found.scores, found.labels], out)
assert not [m for m in sys.modules if m.startswith('mmdhp.')]
"""


def annotation(number, kind, corners):
    x1, y1, x2, y2 = corners
    return {
        'id': number + 1,
        'image_id': number,
        'category_id': kind + 1,
        'bbox': [x1, y1, x2 - x1, y2 - y1],
        'area': (x2 - x1) * (y2 - y1),
        'iscrowd': 0,
    }


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    """Folder with a drawn data set in COCO's format."""
    folder = tmp_path_factory.mktemp('coco')
    draw = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(IMAGES):
        image = Image.new('RGB', SIZE, tuple(draw.integers(0, 99, 3)))
        corner = draw.integers(2, 20, 2)
        corners = [*map(int, (*corner, *(corner + draw.integers(24, 38, 2))))]
        pen, kind = ImageDraw.Draw(image), number % 2
        shape = pen.ellipse if kind else pen.rectangle
        shape(corners, fill=tuple(draw.integers(150, 255, 3)))
        image.save(folder / f'{number}.png')
        images.append(
            {
                'id': number,
                'file_name': f'{number}.png',
                'width': SIZE[0],
                'height': SIZE[1],
            }
        )
        annotations.append(annotation(number, kind, corners))
    categories = [{'id': i + 1, 'name': n} for i, n in enumerate(CLASSES)]
    content = {
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }
    (folder / 'all.json').write_text(json.dumps(content))
    return folder


def small(cfg, folder):
    """Override data, length and size only, in place."""
    data = {
        'data_root': str(folder),
        'ann_file': 'all.json',
        'data_prefix': {'img': ''},
        'metainfo': {'classes': CLASSES},
    }
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[key].update(num_workers=0, persistent_workers=False)
        cfg[key].dataset.update(data)
        for step in cfg[key].dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (64, 64)
    for key in ('val_evaluator', 'test_evaluator'):
        cfg[key].ann_file = str(folder / 'all.json')
    cfg.model.backbone.base_channels = 16
    cfg.model.neck.update(in_channels=[16, 32, 64, 128], out_channels=24)
    if 'roi_head' in cfg.model:
        small_two_stage(cfg.model)
    else:
        small_one_stage(cfg.model)
    cfg.train_cfg.max_epochs = FINE_TUNE
    cfg.optim_wrapper.pruner.input_shape = (3, 64, 64)
    cfg.custom_hooks[-1].search = {'max_epochs': SEARCH}
    return cfg


def small_one_stage(model):
    head = {'num_classes': 2, 'in_channels': 24, 'feat_channels': 20}
    model.bbox_head.update(head, stacked_convs=2)
    model.test_cfg.update(score_thr=0.0, max_per_img=10)


def small_two_stage(model):
    model.rpn_head.update(in_channels=24, feat_channels=20)
    model.roi_head.bbox_roi_extractor.out_channels = 24
    head = {'num_classes': 2, 'in_channels': 24, 'fc_out_channels': 36}
    model.roi_head.bbox_head.update(head)
    model.train_cfg.rpn_proposal.max_per_img = 40
    model.train_cfg.rcnn.sampler.num = 32
    model.test_cfg.rpn.max_per_img = 30
    model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=10)


def two_stage_config(folder):
    """The shipped config with another base."""
    text = CONFIG.read_text().replace(
        'retinanet/retinanet_r18_fpn_1x', 'faster_rcnn/faster-rcnn_r50_fpn_1x'
    )
    text = text.replace('dict(init_cfg', 'dict(depth=18, init_cfg')
    path = folder / 'faster-rcnn_r18_coco_dhp50.py'
    path.write_text(text)
    return path


@pytest.fixture(scope='module', params=['RetinaNet', 'FasterRCNN'])
def finished(request, coco, tmp_path_factory):
    """A finished run: of the shipped config, and of a two-stage detector."""
    path = CONFIG
    if request.param == 'FasterRCNN':
        path = two_stage_config(coco)
    cfg = small(Config.fromfile(str(path)), coco)
    cfg.work_dir = str(tmp_path_factory.mktemp('run'))
    cfg.experiment_name = new_name()
    cfg.log_level = 'ERROR'
    cfg.randomness = {'seed': 0}
    runner = Runner.from_cfg(cfg)
    runner.keys_before = list(weights(runner))
    runner.kind = request.param
    runner.train()
    return runner


def test_a_detector_is_searched_cut_trained_and_exported(finished):
    found = json.loads(
        Path(finished.work_dir, 'pruned/channels.json').read_text()
    )

    assert type(finished.model).__name__ == finished.kind
    assert list(weights(finished)) == finished.keys_before
    assert hook_of(finished, 'PruningHook').state == 'fine_tune'
    assert finished.epoch == SEARCH + FINE_TUNE
    assert 0.4 < found['macs']['ratio'] <= 0.5
    assert found['params']['pruned'] == sum(
        p.numel() for p in finished.model.parameters()
    )
    kept = {group['name']: group for group in found['groups']}
    assert any(g['kept'] < g['total'] for g in kept.values())
    assert any(name.startswith('neck.') for name in kept)
    heads = ('bbox_head.', 'roi_head.bbox_head.', 'rpn_head.')
    assert any(name.startswith(heads) for name in kept)
    assert 'coco/bbox_mAP' in found['metrics']
    assert all(torch.isfinite(v).all() for v in weights(finished).values())


def test_the_exported_detector_has_the_metrics_of_the_run(finished, tmp_path):
    folder = Path(finished.work_dir, 'pruned')
    found = json.loads((folder / 'channels.json').read_text())
    cfg = Config.fromfile(str(folder / 'pruned_config.py'))
    cfg.work_dir = str(tmp_path)
    cfg.load_from = str(folder / 'pruned.pth')
    cfg.experiment_name = new_name()

    metrics = Runner.from_cfg(cfg).test()

    assert metrics == pytest.approx(found['metrics'])


def test_the_exported_detector_works_without_mmdhp(finished, coco, tmp_path):
    from mmdet.apis import inference_detector

    folder = Path(finished.work_dir, 'pruned')
    image, out = str(coco / '0.png'), tmp_path / 'found.pt'
    done = subprocess.run(
        [sys.executable, '-c', ALONE, str(folder), image, str(out)],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    kind, classes, *found = torch.load(out)

    finished.model.eval().cfg = finished.cfg
    own = inference_detector(finished.model, image).pred_instances
    assert (kind, tuple(classes)) == (finished.kind, CLASSES)
    assert len(own) == 10
    for tensor, expected in zip(found, (own.bboxes, own.scores, own.labels)):
        assert torch.equal(tensor, expected)
