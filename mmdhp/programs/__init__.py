"""Weight programs: they write weights and read gradients of a model."""

from .controller import (
    GENERATORS,
    INPUTS,
    NOISES,
    Controller,
    Draw,
    binarise,
    even_odds,
    keep_probability,
)
from .controller_step import ControllerStep
from .freezing import Freezer
from .gates import Gates, escaping_groups, inner_groups
from .hypernetwork import GeneratedWeight, HyperNetwork, generated_weights
from .layerwise_scaling import RULES as SCALING_RULES
from .layerwise_scaling import LayerwiseScaling
from .penalty import log_penalty, ungated_macs

__all__ = [
    'GENERATORS',
    'INPUTS',
    'NOISES',
    'SCALING_RULES',
    'Controller',
    'ControllerStep',
    'Draw',
    'Freezer',
    'Gates',
    'GeneratedWeight',
    'HyperNetwork',
    'LayerwiseScaling',
    'binarise',
    'escaping_groups',
    'even_odds',
    'generated_weights',
    'inner_groups',
    'keep_probability',
    'log_penalty',
    'ungated_macs',
]
