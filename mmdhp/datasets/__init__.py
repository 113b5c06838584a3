"""Data sets of the papers that MMPretrain and MMagic do not have."""

from .cifar import build_cifar10, build_cifar100
from .tiny_imagenet import TinyImageNet

__all__ = ['TinyImageNet', 'build_cifar10', 'build_cifar100']
