"""Data sets and degradations that MMPretrain and MMagic do not have."""

from .cifar import build_cifar10, build_cifar100
from .degradations import AddGaussianNoise, BicubicDownscale
from .image_folder import ImageFolder
from .imresize import imresize
from .tiny_imagenet import TinyImageNet

__all__ = [
    'AddGaussianNoise',
    'BicubicDownscale',
    'ImageFolder',
    'TinyImageNet',
    'build_cifar10',
    'build_cifar100',
    'imresize',
]
