"""Configs find the figures of papers for their network and data."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmdhp.report.published import published_for, published_rows

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('dhp/resnet20_dhp50', ('ResNet-20', 'CIFAR-10')),
        ('hsn/resnet56_hsn50', ('ResNet-56', 'CIFAR-10')),
        ('dhp/densenet40_dhp38', ('DenseNet-12-40', 'CIFAR-10')),
        ('dhp/mobilenetv2_dhp30', ('MobileNetV2', 'Tiny-ImageNet')),
        ('dhp/srresnet_dhp40', ('SRResNet', 'Set5 x4')),
        ('dhp/dncnn_dhp40', ('DnCNN', 'BSD68 sigma 70')),
        ('dhp/resnet56_cifar100_dhp50', None),
        ('dhp/resnet50_dhp50', None),
        ('dhp/srresnet_dhp40_sample', None),
    ],
)
def test_published_figures_of_a_config(name, expected):
    path = CONFIGS / f'{name}.py'
    rows = published_for(Config.fromfile(path), str(path))
    assert {(r['network'], r['data']) for r in rows} == (
        {expected} if expected else set()
    )
    if expected:
        assert rows == published_rows(*expected)
