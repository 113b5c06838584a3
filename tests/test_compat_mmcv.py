"""MMDetection imports; torchvision computes what a bare mmcv cannot."""

import importlib
import json
import subprocess
import sys
import textwrap

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from mmdhp import compat
from mmdhp.compat import import_hook, mmcv

pytest.importorskip('mmcv')
compat.install()
ops = importlib.import_module('mmcv.ops')

if hasattr(importlib.import_module('mmcv._ext'), '__file__'):
    pytest.skip('mmcv has compiled operators', allow_module_level=True)


def run_python(source, path=''):
    """Run ``source`` in a fresh interpreter; its last line is the answer."""
    preamble = f'import sys\nif {path!r}: sys.path.insert(0, {path!r})\n'
    done = subprocess.run(
        [sys.executable, '-c', preamble + textwrap.dedent(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def boxes(count):
    """Overlapping boxes with scores."""
    corners = torch.rand(count, 2) * 20
    sizes = torch.rand(count, 2) * 15 + 1
    return torch.cat([corners, corners + sizes], 1), torch.rand(count)


def overlap(a, b, offset):
    """Intersection over union of two boxes, as mmcv counts pixels."""
    low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
    shared = (high - low + offset).clamp(min=0).prod()
    areas = [(box[2:] - box[:2] + offset).prod() for box in (a, b)]
    return float(shared / (sum(areas) - shared))


def naive_soft_nms(found, scores, threshold, sigma, least, method, offset):
    """The published algorithm, box by box."""
    left = dict(enumerate(scores.tolist()))
    kept, new = [], []
    while left:
        best = max(left, key=left.get)
        kept.append(best)
        new.append(left.pop(best))
        for i in list(left):
            iou = overlap(found[best], found[i], offset)
            if method == 'gaussian':
                left[i] *= float(torch.exp(torch.tensor(-(iou**2) / sigma)))
            elif iou >= threshold:
                left[i] *= 1 - iou if method == 'linear' else 0
            if left[i] < least:
                del left[i]
    return kept, new


@pytest.mark.parametrize('offset', [0, 1])
def test_nms_keeps_what_no_better_box_overlaps(offset):
    found, scores = boxes(40)

    dets, kept = ops.nms(found, scores, 0.3, offset=offset)

    expected = []
    for i in scores.argsort(descending=True).tolist():
        if all(overlap(found[i], found[j], offset) <= 0.3 for j in expected):
            expected.append(i)
    assert kept.tolist() == expected
    assert torch.equal(dets, torch.cat([found, scores[:, None]], 1)[kept])


def test_the_offset_of_nms_matters():
    found = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2]])
    scores = torch.tensor([0.9, 0.8])
    kept = [len(ops.nms(found, scores, 0.4, offset=o)[1]) for o in (0, 1)]
    assert kept == [2, 1]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_is_the_published_algorithm(method, offset):
    found, scores = boxes(30)
    options = (0.3, 0.5, 0.05, method, offset)

    dets, kept = ops.soft_nms(found, scores, *options)

    expected, lowered = naive_soft_nms(found, scores, *options)
    assert kept.tolist() == expected
    assert len(expected) < 30
    torch.testing.assert_close(dets[:, :4], found[kept])
    torch.testing.assert_close(dets[:, 4], torch.tensor(lowered))


def test_no_boxes_at_all():
    found, scores = torch.zeros(0, 4), torch.zeros(0)
    for function in (ops.nms, ops.soft_nms):
        dets, kept = function(found, scores, 0.5)
        assert dets.shape == (0, 5)
        assert kept.shape == (0,)


@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_is_that_of_torchvision_and_its_gradient_fits(aligned):
    features = torch.randn(2, 3, 7, 9, dtype=torch.double)
    rois = torch.tensor([[0, 1.2, 0.4, 9, 11], [1, 3, 2.5, 16, 13]])
    arguments = ((4, 5), 0.5, 2)
    layer = ops.RoIAlign(*arguments, aligned=aligned)
    peer = ops.RoIAlign(*arguments, aligned=aligned, use_torchvision=True)
    features.requires_grad_()

    expected = peer(features, rois.double())

    assert torch.equal(layer(features, rois.double()), expected)
    assert gradcheck(lambda x: layer(x, rois.double()), features)


def test_max_pooling_of_roi_align_is_refused():
    layer = ops.RoIAlign(3, pool_mode='max')
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        layer(torch.zeros(1, 2, 5, 5), torch.zeros(1, 5))


def deformable_inputs(groups, deform_groups):
    """Features (2, 4, 6, 7) for a 3x2 kernel, stride 2, 6 outputs."""

    def draw(*shape):
        return torch.randn(shape, dtype=torch.double, requires_grad=True)

    kernel, size = 6, (3, 4)
    return {
        'x': draw(2, 4, 6, 7),
        'offset': draw(2, 2 * kernel * deform_groups, *size),
        'mask': draw(2, kernel * deform_groups, *size),
        'weight': draw(6, 4 // groups, 3, 2),
        'bias': draw(6),
    }


GEOMETRY = ((2, 2), (1, 1), (1, 1))  # stride, padding, dilation


@pytest.mark.parametrize(('groups', 'deform_groups'), [(1, 1), (2, 2), (1, 4)])
def test_gradients_of_deformable_convolutions(groups, deform_groups):
    given = deformable_inputs(groups, deform_groups)
    options = (*GEOMETRY, groups, deform_groups)

    assert gradcheck(
        lambda x, o, w: ops.deform_conv2d(x, o, w, *options),
        (given['x'], given['offset'], given['weight']),
        fast_mode=True,
    )
    assert gradcheck(
        lambda *tensors: ops.modulated_deform_conv2d(*tensors, *options),
        tuple(given[k] for k in ('x', 'offset', 'mask', 'weight', 'bias')),
        fast_mode=True,
    )


def test_without_offsets_they_are_convolutions():
    given = deformable_inputs(2, 2)
    zero, one = torch.zeros_like(given['offset']), torch.ones_like
    x, weight, bias = given['x'], given['weight'], given['bias']
    stride, padding, dilation = (1, 2), (2, 1), (2, 1)
    expected = F.conv2d(x, weight, bias, stride, padding, dilation, 2)
    zero = zero.new_zeros(2, 24, *expected.shape[2:])
    mask = one(zero[:, :12])
    geometry = (stride, padding, dilation, 2, 2)

    found = ops.deform_conv2d(x, zero, weight, *geometry)
    modulated = ops.modulated_deform_conv2d(
        x, zero, mask, weight, bias, *geometry
    )

    torch.testing.assert_close(found + bias.reshape(-1, 1, 1), expected)
    torch.testing.assert_close(modulated, expected)


def test_offsets_name_the_row_first():
    x, weight = torch.randn(2, 4, 8, 9), torch.randn(6, 4, 3, 2)
    expected = F.conv2d(x[:, :, 1:], weight)  # one row further down
    offset = torch.zeros(2, 12, *expected.shape[2:])
    offset[:, ::2] = 1
    x = x[:, :, :-1]  # the last row is out of reach then

    found = ops.deform_conv2d(x, offset, weight)

    torch.testing.assert_close(found[:, :, :-1], expected[:, :, :-1])


@pytest.mark.parametrize('weighted', [False, True])
def test_focal_loss_is_the_formula(weighted):
    scores = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    target = torch.tensor([0, 2, 1, 0, 2])
    weight = torch.rand(3, dtype=torch.double) if weighted else None
    gamma, alpha = 1.5, 0.3

    def loss(x):
        return ops.sigmoid_focal_loss(x, target, gamma, alpha, weight, 'sum')

    expected = 0.0
    for row, right in zip(scores.sigmoid(), target):
        for c, p in enumerate(row):
            hit = c == right
            p = p if hit else 1 - p
            term = -(alpha if hit else 1 - alpha) * (1 - p) ** gamma * p.log()
            expected += term * (weight[right] if weighted else 1)
    torch.testing.assert_close(loss(scores), expected)
    assert gradcheck(loss, scores)


def test_background_is_no_class_of_the_focal_loss():
    scores, background = torch.randn(2, 3), torch.tensor([3, 3])
    found = ops.sigmoid_focal_loss(scores, background, 2.0, 0.25, None, 'none')
    expected = 0.75 * scores.sigmoid() ** 2 * F.softplus(scores)
    torch.testing.assert_close(found, expected)


def test_what_nobody_computes_is_refused_by_name_and_only_when_called():
    pool = ops.RoIPool(2)
    with pytest.raises(NotImplementedError) as caught:
        pool(torch.zeros(1, 2, 5, 5), torch.zeros(1, 5))
    for word in ('roi_pool_forward', 'compiled operators', 'pip install'):
        assert word in str(caught.value)


def test_the_stand_in_is_no_bag_of_everything():
    extension = importlib.import_module('mmcv._ext')
    assert not hasattr(extension, '__version__')
    assert ops.get_compiler_version() == 'n/a'
    assert ops.get_compiling_cuda_version() == 'n/a'


def test_installing_again_changes_nothing():
    before = list(sys.meta_path)
    mmcv.install()
    assert sys.meta_path == before


def test_compiled_operators_are_preferred(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/__init__.py').touch()
    (tmp_path / 'mmcv/_ext.py').write_text("kind = 'compiled'")
    answer = run_python(
        """
        import json, mmdhp, mmcv._ext
        print(json.dumps(mmcv._ext.kind))
        """,
        str(tmp_path),
    )
    assert answer == 'compiled'


def test_an_extension_that_does_not_load_stays_an_error(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/__init__.py').touch()
    text = "raise ImportError('undefined symbol')"
    (tmp_path / 'mmcv/_ext.py').write_text(text)
    answer = run_python(
        """
        import json, mmdhp
        try:
            import mmcv._ext
        except ImportError as error:
            print(json.dumps(str(error)))
        """,
        str(tmp_path),
    )
    assert answer == 'undefined symbol'


def test_a_detection_package_that_insists_on_an_older_mmcv(tmp_path):
    for name in ('mmcv', 'mmdet'):
        (tmp_path / name).mkdir()
    (tmp_path / 'mmcv/__init__.py').write_text("__version__ = '2.3.6'")
    (tmp_path / 'mmdet/__init__.py').write_text(
        "import mmcv\nseen = mmcv.__version__\nassert seen < '2.2.0', seen"
    )
    answer = run_python(
        """
        import json, mmdhp, mmdet, mmcv
        print(json.dumps([mmdet.seen, mmcv.__version__]))
        """,
        str(tmp_path),
    )
    assert answer == [import_hook.ACCEPTED_MMCV, '2.3.6']


IMGAUG_USER = {
    'mmdet/__init__.py': '',
    'mmdet/datasets/__init__.py': '',
    'mmdet/datasets/transforms/__init__.py': '',
    'mmdet/datasets/transforms/generate_line.py': """
        import imgaug.augmenters as iaa
        from imgaug.augmentables.lines import LineString
        from imgaug.augmentables.segmaps import SegmentationMapsOnImage
    """,
}


def write(folder, files):
    for path, source in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))


@pytest.mark.parametrize(
    'imgaug', ['raise ImportError', "raise AttributeError('np.sctypes')"]
)
def test_transforms_for_lanes_say_that_they_need_imgaug(tmp_path, imgaug):
    write(tmp_path, {**IMGAUG_USER, 'imgaug/__init__.py': imgaug})
    answer = run_python(
        """
        import json, mmdhp
        from mmdet.datasets.transforms import generate_line
        answers = [name for name in sys.modules if 'imgaug' in name]
        try:
            generate_line.iaa.Sometimes(p=0.5)
        except ImportError as error:
            answers.append(str(error))
        print(json.dumps(answers))
        """,
        str(tmp_path),
    )
    assert len(answer) == 1
    assert answer[0].startswith('imgaug.Sometimes: ')
    assert 'pip install' in answer[0]


def test_imgaug_is_used_where_it_works(tmp_path):
    works = {
        'imgaug/__init__.py': '',
        'imgaug/augmenters.py': "kind = 'real'",
        'imgaug/augmentables/__init__.py': '',
        'imgaug/augmentables/lines.py': 'LineString = 1',
        'imgaug/augmentables/segmaps.py': 'SegmentationMapsOnImage = 2',
    }
    write(tmp_path, {**IMGAUG_USER, **works})
    answer = run_python(
        """
        import json, mmdhp
        from mmdet.datasets.transforms import generate_line
        print(json.dumps(generate_line.iaa.kind))
        """,
        str(tmp_path),
    )
    assert answer == 'real'


def test_the_real_package_imports_with_all_its_models():
    pytest.importorskip('mmdet')
    answer = run_python("""
        import json, mmdhp
        from mmdet.utils import register_all_modules
        register_all_modules()
        from mmdet.registry import MODELS
        print(json.dumps([k for k in ('RetinaNet', 'DINO') if k in MODELS]))
    """)
    assert answer == ['RetinaNet', 'DINO']
