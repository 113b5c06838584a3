"""What cannot be exported is refused, with the cause, and leaves no file."""

import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn
from toy import SHAPE, ToyNet

from mmdhp.deploy import (
    ExportError,
    ExportOptions,
    Source,
    export_model,
    export_source,
)
from mmdhp.deploy.checking import compare
from mmdhp.models.unet import UNet

FAST = ['torchscript']


class Branches(nn.Module):
    """Has another path for large images, and fills them up in Python."""

    def forward(self, x):
        return x * 2 if x.shape[-1] > 30 else x * 3


class Noisy(nn.Module):
    """Computes something else each time."""

    def forward(self, x):
        return x + torch.randn_like(x)


class Talkative(nn.Module):
    """Returns a text beside a tensor."""

    def forward(self, x):
        return {'scores': x, 'label': 'cat'}


class Silent(nn.Module):
    """Returns nothing."""

    def forward(self, x):
        return None


class TwoStage(ToyNet):
    """Looks like a two-stage detector."""

    rpn_head = roi_head = extract_feat = True


class Strange(BaseModel):
    """Has a data preprocessor that nobody knows."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = nn.Identity()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs * 2


class Restorer(nn.Module):
    """A generator, and what only training needs."""

    def __init__(self, outputs=1):
        super().__init__()
        self.generator = nn.Conv2d(3, 3, 3, padding=1)
        self.discriminator = nn.Linear(500, 500)
        self.outputs = outputs

    def forward(self, x):
        restored = self.generator(x)
        return restored if self.outputs == 1 else [restored, x]


def source_of(model, shape=SHAPE):
    return Source(model.eval(), Config({}), 'made up', shape)


def export(model, folder, formats=FAST, **options):
    return export_source(
        source_of(model), formats, str(folder), ExportOptions(**options)
    )


@pytest.mark.parametrize(
    ('model', 'formats', 'options', 'message'),
    [
        (
            Branches(),
            ['pt2'],
            {'dynamic': 'size'},
            r'model\.pt2 does not run on inputs of shape \[3, 3, 16, 32\]',
        ),
        (
            Branches(),
            FAST,
            {'dynamic': 'size'},
            r'torchscript\.pt differs from PyTorch by .*, 0\.5 of the',
        ),
        (Noisy(), FAST, {}, r'differs from PyTorch by .*allowed is 0\.0001'),
        (Talkative(), FAST, {}, 'output_label of the model is a str'),
        (Silent(), FAST, {}, 'returns no tensor'),
        (TwoStage(), FAST, {}, 'TwoStage is a two-stage detector'),
        (
            Strange(),
            FAST,
            {'with_preprocess': True},
            'its Identity is not one that mmdhp can make a part',
        ),
        (
            nn.Linear(4, 3),
            FAST,
            {},
            r'Linear cannot run on images of shape \[3, 9, 11\].*RuntimeError',
        ),
        (
            Restorer(outputs=2),
            FAST,
            {'with_preprocess': True},
            'has 2 outputs, output_0, output_1',
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused_with_the_cause(model, formats, options, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        export(model, tmp_path, formats, **options)
    assert list(tmp_path.iterdir()) == []


def test_other_shapes_are_told():
    batch = torch.zeros(3, *SHAPE)
    with pytest.raises(ExportError, match=r'file returns shapes \[\[1, 3, 9'):
        compare(lambda x: [x[:1]], lambda x: (x,), [batch], 'file')


def test_an_exporter_that_fails_is_quoted(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise NotImplementedError('no rule for aten::foo\n\nA page of advice')

    monkeypatch.setattr(torch.export, 'export', fail)
    with pytest.raises(ExportError, match='aten::foo') as caught:
        export(Restorer(), tmp_path, ['pt2'])
    assert 'Conv2d cannot be written as pt2' in str(caught.value)
    assert 'batch and height and width free to vary' in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_earlier_files_alone(tmp_path):
    (file,) = export(Restorer(), tmp_path)
    before = open(file.path, 'rb').read()
    with pytest.raises(ExportError, match='differs'):
        export(Noisy(), tmp_path)
    assert open(file.path, 'rb').read() == before
    assert len(list(tmp_path.iterdir())) == 2  # and its description


def test_a_network_that_fills_images_up_takes_all_sizes(tmp_path):
    network = UNet(in_channels=3, base_channels=4, num_levels=3)

    (file,) = export(network, tmp_path, ['pt2'], dynamic='size')

    run = torch.export.load(file.path).module()
    for size in ((8, 12), (9, 12), (8, 11), (5, 21)):  # multiples of 4, or not
        images = torch.rand(2, 3, *size)
        torch.testing.assert_close(run(images)[0], network(images))


def test_what_only_training_needs_is_left_out(tmp_path):
    (file,) = export(Restorer(), tmp_path, ['pt2'])

    program = torch.export.load(file.path)
    assert not [name for name in program.state_dict if 'discrim' in name]
    assert file.size < 250_000  # the discriminator alone is a megabyte


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'dynamic': 'all'}, "dynamic is 'all', expected one of"),
        ({'tolerance': 2}, 'tolerance is 2, expected a fraction'),
        ({'tolerance': float('nan')}, 'tolerance is nan'),
        ({'shape': (3, 4)}, r'shape is \(3, 4\), expected three positive'),
        ({'shape': (3, 0, 4)}, r'shape is \(3, 0, 4\)'),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        ExportOptions(**changes)


def test_unknown_shape():
    with pytest.raises(ValueError, match='made up does not tell the shape'):
        export_source(source_of(Noisy(), None), FAST, 'nowhere')


@pytest.mark.parametrize('formats', ['onnx,tflite', [], ['']])
def test_unknown_formats(formats):
    with pytest.raises(ValueError, match=r"expected one or several of \['on"):
        export_model('nowhere', formats)


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ExportError, match='onnxruntime not installed'):
        export_model('nowhere', 'onnx')


def test_no_such_source(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('x = 1')
    with pytest.raises(ValueError, match='nowhere is neither a folder nor'):
        export_model('nowhere', FAST)
    with pytest.raises(ValueError, match='holds no pruned model'):
        export_model(str(tmp_path), FAST)
    with pytest.raises(ValueError, match='a checkpoint with its weights'):
        export_model(str(config), FAST)
    with pytest.raises(ValueError, match='has no `model`'):
        export_model(str(config), FAST, None, 'weights.pth')


def test_unfit_checkpoints(toy, tmp_path):
    path = str(tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match=f'There is no checkpoint {path}'):
        export_model(toy.work_dir, FAST, None, path)
    (tmp_path / 'weights.pth').write_bytes(b'not a checkpoint')
    with pytest.raises(ValueError, match='cannot be read as a checkpoint'):
        export_model(toy.work_dir, FAST, None, path)
    torch.save({'epoch': 3}, path)
    with pytest.raises(ValueError, match='holds no weights: its keys are ep'):
        export_model(toy.work_dir, FAST, None, path)
    state = toy.model.state_dict()
    del state['fc.weight']
    torch.save({'state_dict': state}, path)
    with pytest.raises(ValueError, match=r'lacks 1 tensors of ToyNet: fc\.w'):
        export_model(toy.work_dir, FAST, None, path)
