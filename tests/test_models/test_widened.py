"""mmdhp.Widened: the architecture itself, wider, that knows its baseline."""

import copy

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from toy import SHAPE, FixedNet, ToyNet

from mmdhp.graph import GraphError, trace
from mmdhp.models.widened import original_architecture
from mmdhp.surgery import baseline_of


def build(architecture='ToyNet', **changes):
    return MODELS.build(
        {
            'type': 'mmdhp.Widened',
            'architecture': {'type': architecture},
            'input_shape': SHAPE,
            **changes,
        }
    )


def test_returns_the_architecture_twice_as_wide():
    model = build()
    assert type(model) is ToyNet
    assert model.state_dict().keys() == ToyNet().state_dict().keys()
    assert (model.stem.out_channels, model.fc.in_features) == (24, 24)
    assert model.blocks[0]['first'].out_channels == 40
    assert model.fc.out_features == ToyNet().fc.out_features
    assert not model.is_init


def test_remembers_the_baseline():
    known = baseline_of(copy.deepcopy(build(factor=1.5)))
    graph = trace(ToyNet(), torch.zeros(2, *SHAPE))
    assert (known.factor, known.input_shape) == (1.5, SHAPE)
    assert known.graph.macs() == graph.macs()
    assert known.widths == {'stem': 12, 'blocks.0.first': 20}


def test_excluded_modules_keep_their_width():
    model = build(exclude=['stem'])
    assert model.stem.out_channels == 12
    assert model.blocks[0]['first'].out_channels == 40


def test_the_preprocessor_of_the_config_reaches_the_architecture():
    preprocessor = {'type': 'BaseDataPreprocessor', 'non_blocking': True}
    model = build(data_preprocessor=preprocessor)
    assert model.data_preprocessor._non_blocking is True


def test_an_architecture_that_has_nothing_to_widen_is_refused():
    assert FixedNet.__name__ in MODELS
    with pytest.raises(GraphError, match=r'FixedNet can be widened.*\nonly'):
        build('FixedNet')


@MODELS.register_module(force=True)
class Hidden(BaseModel):
    """Its code computes with a width that no trace can see."""

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.stem = torch.nn.Conv2d(3, 6, 1)
        self.head = torch.nn.Conv2d(6, 4, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        width = len(self.stem.weight.tolist()) if self.training else None
        count = sum(1 for _ in self.stem.bias.detach().numpy())
        if count > 6:
            raise RuntimeError(f'{count} channels are too many ({width})')
        return self.head(self.stem(inputs))


def test_an_architecture_that_does_not_run_when_wider_is_refused():
    with pytest.raises(
        GraphError, match=r'does not run when it is 2 times as wide.*`exclude'
    ):
        build('Hidden')


@pytest.mark.parametrize(
    'model', [{'type': 'ToyNet'}, {'type': 'ToyNet', 'width': 4}]
)
def test_the_original_architecture(model):
    wide = {'type': 'mmdhp.Widened', 'architecture': model, 'factor': 2}
    assert original_architecture(model) == model
    assert original_architecture(wide) == model
    wide['data_preprocessor'] = {'type': 'BaseDataPreprocessor'}
    assert original_architecture(wide) == {
        **model,
        'data_preprocessor': {'type': 'BaseDataPreprocessor'},
    }
    assert 'data_preprocessor' not in model


def test_a_two_stage_detector_is_widened():
    pytest.importorskip('mmdet.models')
    from mmdet.utils import register_all_modules
    from mmengine.config import ConfigDict
    from mmengine.hub import get_config

    register_all_modules(init_default_scope=False)
    cfg = get_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    architecture = cfg.model
    architecture['backbone'].update(
        depth=18, init_cfg=None, norm_eval=False, frozen_stages=-1
    )
    architecture['neck']['in_channels'] = [64, 128, 256, 512]
    model = MODELS.build(
        {
            'type': 'mmdhp.Widened',
            'architecture': ConfigDict(_scope_='mmdet', **architecture),
            'input_shape': (3, 64, 96),
        }
    )
    head = model.roi_head.bbox_head
    assert head.shared_fcs[0].weight.shape == (2048, 512 * 49)
    assert head.fc_cls.out_features == 81
