"""Videos of one object each, as mmtrack 1.x names them."""

from .coco_images import SOTCocoDataset
from .frame_transforms import (
    BrightnessAug,
    CropLikeDiMP,
    GrayAug,
    SeqBboxJitter,
)
from .packing import LoadTrackImages, PackTrackInputs, TrackDataSample
from .sot_datasets import (
    GOT10kDataset,
    LaSOTDataset,
    OTB100Dataset,
    TrackingNetDataset,
)
from .track_sampling import (
    DiMPSampling,
    QuotaSampler,
    RandomSampleConcatDataset,
    VideoSampler,
)

__all__ = [
    'BrightnessAug',
    'CropLikeDiMP',
    'DiMPSampling',
    'GOT10kDataset',
    'GrayAug',
    'LaSOTDataset',
    'LoadTrackImages',
    'OTB100Dataset',
    'PackTrackInputs',
    'QuotaSampler',
    'RandomSampleConcatDataset',
    'SOTCocoDataset',
    'SeqBboxJitter',
    'TrackDataSample',
    'TrackingNetDataset',
    'VideoSampler',
]
