"""Measures of the papers that differ from MMPretrain's and MMagic's."""

from .image_quality import PSNR, SSIM

__all__ = ['PSNR', 'SSIM']
