"""What the command line does, as functions."""

from .config_writer import write_config
from .configs import build_model, find_config, read_config
from .input_shape import find_input_shape
from .inspection import inspect_config, inspection_text
from .one_shot import prune_checkpoint

__all__ = [
    'build_model',
    'find_config',
    'find_input_shape',
    'inspect_config',
    'inspection_text',
    'prune_checkpoint',
    'read_config',
    'write_config',
]
