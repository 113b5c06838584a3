"""Builds the pruned architecture; written by mmdhp."""

from . import compat_mmagic, compat_mmcv

compat_mmagic.install()
compat_mmcv.install()

from . import degradations, dncnn, image_folder, image_quality, imresize, open_forward, pruned, resizing  # noqa: E402
