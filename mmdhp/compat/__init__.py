"""Makes OpenMMLab's libraries and mmdhp work together.

MMDetection and MMagic stay importable beside current dependencies, and
MMEngine finds the configs of mmdhp.
"""

from . import mmagic, mmcv, mmdet, mmengine
from .mmagic import import_mmagic, unavailable_editors

__all__ = ['import_mmagic', 'install', 'unavailable_editors']


def install() -> None:
    """Make later imports of the libraries work, whoever does them.

    Nothing is imported here. Calling it again changes nothing.
    """
    mmagic.install()
    mmcv.install()
    mmdet.install()
    mmengine.install()
