"""Builds the pruned architecture; written by mmdhp."""

from . import compat_mmagic, compat_mmcv

compat_mmagic.install()
compat_mmcv.install()

from . import image_folder, image_quality, open_forward, pruned, resizing, srresnet, upsample  # noqa: E402
