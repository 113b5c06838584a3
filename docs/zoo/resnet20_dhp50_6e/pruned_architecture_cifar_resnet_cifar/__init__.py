"""Builds the pruned architecture; written by mmdhp."""

from . import cifar, open_forward, pruned, resizing, resnet_cifar
