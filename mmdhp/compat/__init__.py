"""Keeps MMDetection and MMagic importable beside current dependencies."""

from . import mmagic, mmcv, mmdet
from .mmagic import import_mmagic, unavailable_editors

__all__ = ['import_mmagic', 'install', 'unavailable_editors']


def install() -> None:
    """Make later imports of MMDetection and MMagic work, whoever does them.

    Nothing is imported here. Calling it again changes nothing.
    """
    mmagic.install()
    mmcv.install()
    mmdet.install()
