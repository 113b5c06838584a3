"""What is told about preprocessing is what the preprocessors do."""

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from torch import nn

from mmdhp import compat
from mmdhp.deploy.preprocessing import (
    Preprocessing,
    Preprocessor,
    loaded_order,
    pipeline_of,
    preprocessing_of,
)

compat.install()

SIZE = (3, 9, 14)
MEAN, STD = [120.0, 110.0, 100.0], [60.0, 50.0, 40.0]
PHOTOGRAPHS = [{'type': 'LoadImageFromFile'}, {'type': 'PackInputs'}]


def config(pipeline=(), kind='Any'):
    dataset = {'type': kind, 'pipeline': list(pipeline)}
    return Config({'test_dataloader': {'dataset': dataset}})


def model_with(preprocessor):
    model = nn.Module()
    model.data_preprocessor = preprocessor
    return model


def cls_preprocessor(**changes):
    pytest.importorskip('mmpretrain')
    from mmpretrain.models import ClsDataPreprocessor

    return ClsDataPreprocessor(mean=MEAN, std=STD, **changes)


def det_preprocessor(**changes):
    pytest.importorskip('mmdet')
    from mmdet.models import DetDataPreprocessor

    return DetDataPreprocessor(mean=MEAN, std=STD, **changes)


def img_preprocessor(**changes):
    return ImgDataPreprocessor(mean=MEAN, std=STD, **changes)


@pytest.mark.parametrize(
    ('build', 'changes', 'swaps'),
    [
        (cls_preprocessor, {}, False),
        (cls_preprocessor, {'to_rgb': True, 'pad_size_divisor': 4}, True),
        (det_preprocessor, {'bgr_to_rgb': True, 'pad_size_divisor': 8}, True),
        (img_preprocessor, {'pad_size_divisor': 5, 'pad_value': 7}, False),
    ],
)
def test_same_numbers_as_the_data_preprocessor(build, changes, swaps):
    preprocessor = build(**changes)
    images = torch.randint(0, 256, (2, *SIZE), dtype=torch.uint8)
    data = {'inputs': images, 'data_samples': None}
    expected = preprocessor(data)['inputs']

    facts = preprocessing_of(
        model_with(preprocessor), config(PHOTOGRAPHS), SIZE[0]
    )

    given = images.flip(1) if swaps else images
    assert facts.channel_order == ('RGB' if swaps else 'BGR')
    torch.testing.assert_close(Preprocessor(facts)(given.float()), expected)


@pytest.mark.parametrize(
    ('loaded', 'wanted', 'order'),
    [
        ('bgr', None, 'BGR'),
        ('rgb', None, 'RGB'),
        ('bgr', 'RGB', 'RGB'),
        ('rgb', 'BGR', 'BGR'),
    ],
)
def test_order_of_channels_in_mmagic(loaded, wanted, order):
    pytest.importorskip('mmagic')
    from mmagic.models import DataPreprocessor

    preprocessor = DataPreprocessor(MEAN, STD, output_channel_order=wanted)
    pipeline = [{'type': 'LoadImageFromFile', 'channel_order': loaded}]

    facts = preprocessing_of(model_with(preprocessor), config(pipeline), 3)

    assert facts.channel_order == order
    assert (facts.mean, facts.std) == (tuple(MEAN), tuple(STD))


def test_mmagic_fills_up_before_it_normalises():
    pytest.importorskip('mmagic')
    from mmagic.models import DataPreprocessor
    from mmagic.structures import DataSample

    preprocessor = DataPreprocessor(MEAN, STD, pad_size_divisor=4)
    images = torch.randint(0, 256, (1, *SIZE), dtype=torch.uint8)
    data = {'inputs': [images[0]], 'data_samples': [DataSample()]}
    expected = preprocessor(data)['inputs']

    facts = preprocessing_of(model_with(preprocessor), Config({}), 3)

    torch.testing.assert_close(Preprocessor(facts)(images.float()), expected)


@pytest.mark.parametrize(
    ('cfg', 'channels', 'order'),
    [
        (config(PHOTOGRAPHS), 1, 'gray'),
        (config(kind='mmdhp.CIFAR10'), 3, 'RGB'),
        (config(), 3, None),
        (Config({}), 3, None),
        (Config({'test_dataloader': None}), 3, None),
    ],
)
def test_order_of_channels_in_pipelines(cfg, channels, order):
    assert loaded_order(cfg, channels) == order


def test_the_innermost_data_set_counts():
    inner = config(PHOTOGRAPHS).test_dataloader.dataset
    cfg = Config(
        {'val_dataloader': [{'dataset': {'type': 'Repeat', 'dataset': inner}}]}
    )
    assert pipeline_of(cfg) == PHOTOGRAPHS
    assert loaded_order(cfg, 3) == 'BGR'


def test_models_without_normalisation():
    for model in (nn.Module(), model_with(BaseDataPreprocessor())):
        facts = preprocessing_of(model, Config({}), 3)
        images = torch.rand(2, *SIZE)
        assert facts.known
        assert torch.equal(Preprocessor(facts)(images), images)


def test_images_come_back():
    facts = Preprocessing('any', mean=tuple(MEAN), std=tuple(STD))
    prepare = Preprocessor(facts)
    images = torch.rand(2, *SIZE) * 255
    torch.testing.assert_close(prepare.images_of(prepare(images)), images)
    assert prepare.images_of(torch.full((1, 3, 1, 1), 1e3)).max() == 255


def test_an_unknown_preprocessor_is_not_guessed():
    facts = preprocessing_of(model_with(nn.Identity()), Config({}), 3)
    assert facts == Preprocessing('Identity', known=False)
