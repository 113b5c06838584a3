"""The networks of DiMP, and the backbones that pruning made."""

from .dimp import DiMP
from .dimp_cls_head import DiMPClsHead, DiMPFilterInitializer
from .filter_optimizer import DiMPFilterOptimizer
from .iou_head import IoUNetHead
from .prroi_pool import PrRoIPool, prroi_pool
from .pruned_backbone import build_pruned_backbone
from .track_preprocessor import TrackDataPreprocessor
from .tracking_losses import LBHingeLoss

__all__ = [
    'DiMP',
    'DiMPClsHead',
    'DiMPFilterInitializer',
    'DiMPFilterOptimizer',
    'IoUNetHead',
    'LBHingeLoss',
    'PrRoIPool',
    'TrackDataPreprocessor',
    'build_pruned_backbone',
    'prroi_pool',
]
