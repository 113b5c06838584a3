"""Networks of the papers that MMPretrain and MMagic do not have."""

from .densenet_cifar import CIFARDenseNet
from .dncnn import DnCNN
from .edsr import EDSR
from .mobilenet import MobileNetV1, PoolingDropout, build_mobilenet_v2
from .pruned import build_pruned
from .resnet_cifar import CIFARResNet
from .srresnet import SRResNet
from .unet import UNet
from .widened import build_widened

__all__ = [
    'CIFARDenseNet',
    'CIFARResNet',
    'DnCNN',
    'EDSR',
    'MobileNetV1',
    'PoolingDropout',
    'SRResNet',
    'UNet',
    'build_mobilenet_v2',
    'build_pruned',
    'build_widened',
]
