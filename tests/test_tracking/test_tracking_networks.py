"""DiMP's parts: sizes, formulas, what pruning sees, what training gets."""

import copy
import json
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData
from tracking_toy import SMALL, build_small, small_backbone, with_values

import mmdhp
from mmdhp.engine import DistillationHook
from mmdhp.models.tracking import DiMPClsHead, IoUNetHead, LBHingeLoss
from mmdhp.models.tracking.box_ops import draw_proposals, overlaps

pytest.importorskip('mmpretrain')


def num_params(module):
    return sum(p.numel() for p in module.parameters())


def test_sizes_are_those_of_dimp50():
    cls_head, bbox_head = DiMPClsHead(1024), IoUNetHead((512, 1024))
    assert num_params(cls_head.feat_conv) == 4_718_592
    assert num_params(cls_head.filter_initializer) == 2_359_808
    assert num_params(cls_head.filter_optimizer) == 302
    assert num_params(bbox_head) == 10_461_569


def test_shapes_of_dimp50():
    cls_head = DiMPClsHead(24, out_dim=20)
    features = cls_head.extract(torch.randn(6, 24, 18, 18))
    features = features.unflatten(0, (3, 2))
    boxes = torch.tensor([100.0, 90.0, 60.0, 50.0]).expand(3, 2, 4)
    filters = cls_head.filters(features, boxes)
    assert [tuple(w.shape) for w in filters] == 6 * [(2, 20, 4, 4)]
    assert cls_head.score(features, filters[-1]).shape == (3, 2, 19, 19)


def test_features_have_unit_energy_in_the_filters_window():
    head = DiMPClsHead(24, out_dim=20)
    head.init_weights()
    out = head.extract(7 * torch.randn(3, 24, 18, 15))
    energy = out.square().sum((1, 2, 3))
    torch.testing.assert_close(energy, torch.full((3,), 18 * 15 / 16))
    torch.testing.assert_close(
        head.extract(torch.zeros(1, 24, 5, 6)), torch.zeros(1, 20, 5, 6)
    )


def test_the_first_filter_is_the_mean_of_pooled_features():
    head = DiMPClsHead(24, out_dim=20).filter_initializer
    features = torch.randn(3, 2, 20, 9, 11)
    # Bins of one cell from site to site: means of four neighbours.
    boxes = torch.tensor([32.0, 16.0, 64.0, 64.0]).expand(3, 2, 4)

    found = head(features, boxes)

    maps = head.filter_conv(features.flatten(0, 1))
    pooled = F.avg_pool2d(maps, 2, 1)[:, :, 1:5, 2:6]
    expected = pooled.unflatten(0, (3, 2)).mean(0)
    torch.testing.assert_close(found, expected)


def naive_hinge(scores, label, threshold):
    total = 0.0
    for s, y in zip(scores.flatten().tolist(), label.flatten().tolist()):
        total += (max(s, 0.0) if y < threshold else s - y) ** 2
    return total / scores.numel()


def test_hinge_loss_forgives_negative_scores_in_the_background():
    scores, label = torch.randn(2, 3, 5), torch.rand(2, 3, 5)
    label[0, 0, 0] = 0.05  # not below the threshold
    found = LBHingeLoss(0.05)(scores, label)
    assert float(found) == pytest.approx(naive_hinge(scores, label, 0.05))
    assert LBHingeLoss()(torch.tensor([-3.0]), torch.tensor([0.0])) == 0


def test_overlaps_by_hand():
    a = torch.tensor([[0.0, 0, 4, 2], [0, 0, 4, 2], [0, 0, 4, 2]])
    b = torch.tensor([[0.0, 0, 4, 2], [2, 1, 4, 2], [5, 0, 1, 1]])
    assert overlaps(a, b).tolist() == pytest.approx([1, 2 / 14, 0])
    assert overlaps(a[0], torch.zeros(4)) == 0
    assert overlaps(torch.zeros(4), torch.zeros(4)) == 0


def test_proposals_overlap_the_target():
    boxes = torch.tensor([[[50.0, 60, 40, 25]], [[10, 10, 1, 1]]])
    proposals = draw_proposals(boxes, 200)
    assert proposals.shape == (2, 1, 200, 4)
    assert torch.equal(proposals, proposals.round())
    found = overlaps(proposals, boxes[:, :, None])
    assert (found[0] > 0.1).all()
    assert found[0].min() < 0.4 < 0.9 < found[0].max()
    assert found.isfinite().all()


def test_boxes_have_gradients_through_the_overlap_head():
    head = IoUNetHead((5, 7), pred_in_dim=(6, 8), pred_inter_dim=(4, 9))
    head.init_weights()
    with_values(head).double().eval()
    levels = [torch.randn(2, 5, 12, 10), torch.randn(2, 7, 6, 5)]
    levels = [level.double() for level in levels]
    target = torch.tensor([[20.3, 30.1, 33.7, 21.9]] * 2).double()
    modulation = head.modulation(levels, target)
    features = head.test_features(levels)
    boxes = torch.rand(2, 3, 4).double() * 30 + 15
    assert torch.autograd.gradcheck(
        lambda b: head.predict_iou(modulation, features, b),
        boxes.requires_grad_(),
        atol=1e-5,
    )


def test_one_reference_serves_all_images_of_its_sequence():
    head = IoUNetHead((5, 7), pred_in_dim=(6, 8), pred_inter_dim=(4, 9))
    with_values(head).eval()
    seen = []
    original = head.predict_iou

    def spy(modulation, features, boxes):
        seen.append(modulation)
        return original(modulation, features, boxes)

    head.predict_iou = spy
    reference = [torch.randn(2, 5, 12, 10), torch.randn(2, 7, 6, 5)]
    test = [torch.randn(6, 5, 12, 10), torch.randn(6, 7, 6, 5)]
    boxes = torch.tensor([20.0, 30.0, 30.0, 20.0])

    head.loss((reference, boxes.expand(2, 4)), (test, boxes.expand(3, 2, 4)))

    first = seen[0][0]
    assert len(first) == 6
    assert torch.equal(first[0], first[2])  # image-major: 0 1 0 1 0 1
    assert not torch.equal(first[0], first[1])


def batch(images=3, sequences=2, size=96):
    shape = (sequences, images, 3, size, size)
    inputs = {'img': torch.rand(shape), 'search_img': torch.rand(shape)}
    samples = []
    for _ in range(sequences):
        sample = BaseDataElement()
        for key in ('gt_instances', 'search_gt_instances'):
            corner = torch.rand(images, 2) * 20 + 30
            boxes = torch.cat([corner, corner + 20], 1)
            setattr(sample, key, InstanceData(bboxes=boxes))
        samples.append(sample)
    return inputs, samples


def test_training_reaches_every_parameter():
    model = with_values(build_small())
    losses = model(*batch(), mode='loss')
    assert list(losses) == [
        'loss_cls_init',
        'loss_cls_iter',
        'loss_cls_final',
        'loss_bbox',
    ]
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []
    dead = [n for n, p in model.named_parameters() if not p.grad.any()]
    assert dead == []


def test_a_frozen_backbone_stays_as_it_is():
    model = with_values(build_small(freeze_backbone=True)).train()
    before = copy.deepcopy(model.backbone.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = model(*batch(), mode='loss')
    sum(losses.values()).backward()
    optimizer.step()
    after = model.backbone.state_dict()
    changed = [k for k, v in before.items() if not torch.equal(v, after[k])]
    assert changed == []  # weights, and statistics of the norms
    heads = (model.cls_head, model.bbox_head)
    without = [p for h in heads for p in h.parameters() if p.grad is None]
    assert without == []
    assert model.bbox_head.training
    assert not any(m.training for m in model.backbone.modules())


def test_weights_of_the_losses():
    head = DiMPClsHead(6, out_dim=5)
    features = head.extract(torch.randn(6, 6, 8, 8)).unflatten(0, (3, 2))
    boxes = torch.tensor([40.0, 44.0, 30.0, 26.0]).expand(3, 2, 4)
    found = head.loss((features, boxes), (features, boxes))
    head.loss_weights = dict(init=1.0, iter=1.0, final=1.0)
    plain = head.loss((features, boxes), (features, boxes))
    factors = [float(found[k] / plain[k]) for k in found]
    assert factors == pytest.approx([100, 400, 100])


def test_rates_are_those_of_the_authors():
    from pathlib import Path

    from mmengine.config import Config

    root = Path(__file__).parents[2] / 'configs'
    cfg = Config.fromfile(root / 'tracking' / 'dimp_r50.py')
    model = build_small()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    rates = {
        id(group['params'][0]): group['lr']
        for group in wrapper.optimizer.param_groups
    }
    expected = {
        'cls_head.filter_initializer.filter_conv.weight': 5e-5,
        'cls_head.filter_optimizer.label_coef': 5e-4,
        'cls_head.feat_conv.weight': 5e-5,
        'bbox_head.fc3.linear.weight': 2e-4,
        'backbone.conv1.weight': 2e-5,
    }
    parameters = dict(model.named_parameters())
    for name, rate in expected.items():
        assert rates[id(parameters[name])] == pytest.approx(rate), name


def test_the_graph_sees_through_the_whole_network():
    model = build_small()
    graph = mmdhp.trace(model, torch.zeros(2, 3, 96, 128))
    names = [group.name for group in graph.groups]
    assert len([n for n in names if n.startswith('backbone.')]) == 9
    assert len([n for n in names if n.startswith('bbox_head.')]) == 9
    assert graph.unused == []
    frozen = {group.name: group for group in graph.frozen}
    assert frozen['cls_head.feat_conv'].code == 'mixed'
    assert 'cls_head.feat_norm' in frozen['cls_head.feat_conv'].reason
    readers = {
        member.module: member.axis
        for group in graph.groups
        if group.name in ('backbone.layer3.0.conv2', 'backbone.layer2.0.conv2')
        for member in group.members
        if member.module.startswith(('cls_head', 'bbox_head'))
    }
    assert readers == dict.fromkeys(
        [
            'cls_head.feat_conv',
            'bbox_head.ref3.conv',
            'bbox_head.ref4.conv',
            'bbox_head.test3.0.conv',
            'bbox_head.test4.0.conv',
        ],
        1,
    )


def test_cutting_equals_masking():
    model = with_values(build_small()).eval()
    images = torch.rand(2, 3, 96, 128)
    graph = mmdhp.trace(model, images)
    keep = graph.random_keep(0.6, seed=1)
    assert mmdhp.verify(model, graph, keep, images, relative=True) < 1e-4

    mmdhp.shrink(model, graph, keep)

    width = int(keep[slice(*span(graph, 'backbone.layer3.0.conv2'))].sum())
    assert model.cls_head.feat_conv.in_channels == width < 48
    losses = model.train()(*batch(), mode='loss')
    assert all(loss.isfinite() for loss in losses.values())


def span(graph, name):
    (group,) = [group for group in graph.groups if group.name == name]
    return group.start, group.stop


def test_a_pruned_backbone_drops_in(tmp_path):
    backbone = MODELS.build(small_backbone())
    model = torch.nn.Sequential(backbone, Last(), torch.nn.Conv2d(48, 5, 1))
    graph = mmdhp.trace(model, torch.zeros(2, 3, 64, 64))
    mmdhp.shrink(model, graph, graph.random_keep(0.6, seed=3))
    state = {
        f'backbone.{name}': value
        for name, value in backbone.state_dict().items()
    }
    state['backbone.layer4.0.conv1.weight'] = torch.zeros(3, 3, 3, 3)
    state['head.fc.weight'] = torch.zeros(3, 3)
    torch.save({'state_dict': state}, tmp_path / 'pruned.pth')
    shapes = {name: list(value.shape) for name, value in state.items()}
    (tmp_path / 'channels.json').write_text(json.dumps({'shapes': shapes}))

    for file in ('checkpoint', 'channels'):
        name = {'checkpoint': 'pruned.pth', 'channels': 'channels.json'}[file]
        cfg = dict(
            type='mmdhp.PrunedBackbone',
            architecture=small_backbone(),
            **{file: str(tmp_path / name)},
        )
        tracker = build_small(backbone=cfg)
        widths = (
            backbone.layer2[0].conv2.out_channels,
            backbone.layer3[0].conv2.out_channels,
        )
        assert tracker.bbox_head.ref3.conv.in_channels == widths[0] < 24
        assert tracker.cls_head.feat_conv.in_channels == widths[1] < 48
        own = tracker.backbone.state_dict()
        equal = [
            torch.equal(own[k], v) for k, v in backbone.state_dict().items()
        ]
        assert all(equal) == (file == 'checkpoint')
        losses = tracker(*batch(), mode='loss')
        assert all(loss.isfinite() for loss in losses.values())


class Last(torch.nn.Module):
    def forward(self, levels):
        return levels[-1]


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        ({}, 'channels is None and checkpoint is None; give one'),
        (
            {'channels': 'c.json', 'checkpoint': 'p.pth'},
            "channels is 'c.json' and checkpoint is 'p.pth'; give one",
        ),
    ],
)
def test_a_pruned_backbone_needs_one_file(cfg, message):
    cfg = dict(
        type='mmdhp.PrunedBackbone', architecture=small_backbone(), **cfg
    )
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)


def test_a_pruned_backbone_needs_the_prefix(tmp_path):
    path = tmp_path / 'channels.json'
    path.write_text(json.dumps({'shapes': {'net.conv1.weight': [1, 3, 7, 7]}}))
    cfg = dict(
        type='mmdhp.PrunedBackbone',
        architecture=small_backbone(),
        channels=str(path),
    )
    with pytest.raises(ValueError, match='has no tensor backbone.conv1'):
        MODELS.build(cfg)


def test_a_tracker_may_look_more_finely():
    stride = dict(feat_stride=8), dict(feature_stride=8)
    model = build_small(
        backbone=dict(small_backbone(), strides=(1, 2, 1)),
        cls_head=dict(
            type='mmdhp.DiMPClsHead',
            out_dim=20,
            filter_optimizer=stride[0],
            filter_initializer=stride[1],
        ),
        bbox_head=dict(SMALL['bbox_head'], feat_strides=(8, 8)),
    )
    first, last, overlap = model(torch.randn(2, 3, 96, 80))
    assert first.shape == last.shape == (1, 2, 13, 11)
    assert overlap.shape == (2, 1)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (
            dict(backbone=dict(small_backbone(), out_indices=(0, 1))),
            ValueError,
            r'strides 8 and 16 .* maps of shapes \[\(12, 16, 16\)',
        ),
        (
            dict(
                backbone=dict(small_backbone(), strides=(1, 2, 1)),
                bbox_head=dict(type='mmdhp.IoUNetHead', feat_strides=(8, 8)),
            ),
            ValueError,
            r'feat_stride=16, filter_initializer.feature_stride=16, but .* '
            r'has stride 8 \(feat_strides\[1\]',
        ),
        (
            dict(bbox_head=dict(type='mmdhp.IoUNetHead', in_dim=(3,))),
            ValueError,
            r'two levels, but got in_dim=\(3,\)',
        ),
        (
            dict(
                cls_head=dict(
                    type='mmdhp.DiMPClsHead', loss_weights=dict(last=1)
                )
            ),
            KeyError,
            r"loss_weights has \['last'\]",
        ),
    ],
)
def test_wrong_configs_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        MODELS.build({**SMALL, **change})


def test_a_teacher_compares_training_and_test_images(tmp_path):
    config, student = {'model': dict(SMALL)}, with_values(build_small())
    path = tmp_path / 'teacher.pth'
    torch.save(with_values(copy.deepcopy(student)).state_dict(), path)
    hook = DistillationHook(
        dict(config=config, checkpoint=str(path)),
        module='cls_head.feat_conv',
        criterion='l2',
        weight=0.25,
    )
    runner = SimpleNamespace(model=student.eval(), hooks=[])
    hook.before_train(runner)
    inputs, samples = batch()
    hook.before_train_iter(runner, 0)
    losses = student(inputs, samples, mode='loss')
    hook.after_train_iter(runner, 0)

    def maps(model, key):
        images = inputs[key].transpose(0, 1).flatten(0, 1)
        return model.cls_head.feat_conv(model.backbone(images)[1])

    gaps = [
        F.mse_loss(maps(student, key), maps(hook.teacher, key))
        for key in ('img', 'search_img')
    ]
    assert min(gaps) > 0
    torch.testing.assert_close(
        losses['loss_distillation'], 0.25 * sum(gaps) / 2
    )


def test_modes():
    model = build_small()
    with pytest.raises(ValueError, match="mode is 'test'"):
        model(None, mode='test')
    assert model.classifier is model.cls_head
    assert model.bbox_regressor is model.bbox_head


def test_frames_are_normalised_as_the_backbone_expects():
    preprocessor = MODELS.build(dict(type='mmdhp.TrackDataPreprocessor'))
    image = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    image[:, 0] = 255  # blue of BGR
    data = {'inputs': {'img': [image, image]}, 'data_samples': []}
    out = preprocessor(data)['inputs']['img']
    assert out.shape == (2, 1, 3, 2, 2)
    expected = [-0.485 / 0.229, -0.456 / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(
        out[0, 0, :, 0, 0], torch.tensor(expected), rtol=1e-4, atol=1e-4
    )
    assert math.isclose(float(preprocessor.mean[0]), 123.675, rel_tol=1e-6)


def test_training_in_half_precision():
    model = with_values(build_small())
    inputs, samples = batch()
    plain = model(inputs, samples, mode='loss')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = model(inputs, samples, mode='loss')
    sum(half.values()).backward()
    for name, loss in half.items():
        assert loss.dtype == torch.float32
        if name != 'loss_bbox':  # of other proposals
            assert float(loss.detach()) == pytest.approx(
                float(plain[name].detach()), rel=0.2
            )
    assert all(p.grad.isfinite().all() for p in model.parameters())
