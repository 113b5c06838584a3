"""Metrics that upstream lacks, or measures otherwise than the papers."""

from .image_quality import PSNR, SSIM
from .sot_metric import SOTMetric

__all__ = ['PSNR', 'SSIM', 'SOTMetric']
