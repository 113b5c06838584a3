"""Pruned models as files for other runtimes.

``mmdhp.release`` writes the folder ``pruned``, with which OpenMMLab's
tools go on; this package turns it into ONNX, ``torch.export`` and TorchScript
files, which need none of them.
"""

from .checking import Difference
from .errors import ExportError
from .exporting import (
    ExportedFile,
    ExportOptions,
    export_model,
    export_source,
)
from .formats import FORMATS
from .loading import Source, load_source

__all__ = [
    'FORMATS',
    'Difference',
    'ExportError',
    'ExportOptions',
    'ExportedFile',
    'Source',
    'export_model',
    'export_source',
    'load_source',
]
