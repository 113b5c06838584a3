"""Networks of the papers that MMPretrain and MMagic do not have."""

from .dncnn import DnCNN
from .edsr import EDSR
from .pruned import build_pruned
from .resnet_cifar import CIFARResNet
from .srresnet import SRResNet

__all__ = ['CIFARResNet', 'DnCNN', 'EDSR', 'SRResNet', 'build_pruned']
