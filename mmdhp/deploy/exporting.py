"""Write a pruned model for runtimes that know nothing of ``mmdhp``."""

import json
import os
import os.path as osp
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

import torch
from torch import Tensor

from .checking import Difference, check_tolerance, compare, trial_shapes
from .description import describe, file_report
from .formats import AXES, FORMATS, Capture, chosen_formats, write_file
from .loading import Source, load_source
from .network import RESTORATION, DeployedNetwork, deployed
from .preprocessing import Preprocessing, Preprocessor

FOLDER = 'deploy'
STEM = 'model'
TOLERANCE = 1e-4


@dataclass(frozen=True)
class ExportOptions:
    """What to export, beyond the model and the formats.

    Attributes:
        shape (tuple[int, int, int] | None): One image, ``(c, h, w)``. None
            takes the shape at which the model was pruned.
        dynamic (str): What may vary between runs: ``'none'``, ``'batch'``,
            ``'size'`` (batch, height and width), or ``'auto'``: size for
            restoration, else batch.
        with_preprocess (bool): Whether preprocessing becomes a part of the
            network, so that it takes values from 0 to 255; one that restores
            images returns such values, too.
        tolerance (float): Largest difference from PyTorch, as a fraction of
            the largest output. On random inputs; rounding alone makes about
            1e-6.

    Raises:
        ValueError: If a value cannot be.
    """

    shape: Optional[tuple[int, int, int]] = None
    dynamic: str = 'auto'
    with_preprocess: bool = False
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        choices = ['auto', *AXES]
        if self.dynamic not in choices:
            raise ValueError(
                f'dynamic is {self.dynamic!r}, expected one of {choices}.'
            )
        if not 0 < self.tolerance < 1:
            raise ValueError(
                f'tolerance is {self.tolerance}, expected a fraction of the '
                'largest output, such as 1e-4.'
            )
        if self.shape is not None:
            _check_shape(self.shape, 'shape')


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written and checked.

    Attributes:
        format (str): ``'onnx'``, ``'pt2'`` or ``'torchscript'``.
        path (str): Where it is; ``path + '.json'`` describes it.
        size (int): Bytes.
        difference (Difference): From PyTorch, on random inputs.
    """

    format: str
    path: str
    size: int
    difference: Difference


def export_model(
    source: str,
    formats: Union[str, Sequence[str]] = ('onnx',),
    out: Optional[str] = None,
    checkpoint: Optional[str] = None,
    options: ExportOptions = ExportOptions(),
) -> list[ExportedFile]:
    """Write a model as ONNX, torch.export and TorchScript files.

    The files run without ``mmdhp`` and without OpenMMLab's packages. Each is
    loaded again and compared with PyTorch on random images, at several batch
    sizes and, where those may vary, image sizes, before any is put in place.

    Not to be confused with the folder ``pruned`` that a run writes: that one
    is for MMEngine, and what is read here.

    Args:
        source (str): Work folder of a finished run, its folder ``pruned``,
            or a config file.
        formats (str | Sequence[str]): Of ``'onnx'``, ``'pt2'`` and
            ``'torchscript'``. Defaults to ``('onnx', )``.
        out (str, optional): Folder for the files. Defaults to ``deploy`` in
            ``source``, or beside a config's checkpoint.
        checkpoint (str, optional): Weights, needed with a config.
        options (ExportOptions): The rest.

    Returns:
        list[ExportedFile]: One per format.

    Raises:
        ValueError: If there is no such model, or an option is wrong.
        ExportError: If the model cannot be exported, or a file computes
            something else.
    """
    names = chosen_formats(formats)
    found = load_source(source, checkpoint)
    if out is None:
        beside = osp.dirname(checkpoint or '')
        out = osp.join(source if osp.isdir(source) else beside, FOLDER)
    return export_source(found, names, out, options)


def export_source(
    source: Source,
    formats: Sequence[str],
    out: str,
    options: ExportOptions = ExportOptions(),
) -> list[ExportedFile]:
    """The same for a model that is loaded already.

    Args:
        source (Source): The model.
        formats (Sequence[str]): Names of formats.
        out (str): Folder for the files.
        options (ExportOptions): The rest.

    Raises:
        ValueError: If the shape is not known.
        ExportError: If the model cannot be exported.
    """
    shape = _shape(source, options)
    network, facts, outputs = deployed(
        source.model, source.cfg, shape, options.with_preprocess
    )
    network.eval()
    dynamic = options.dynamic
    if dynamic == 'auto':
        dynamic = 'size' if network.task == RESTORATION else 'batch'
    inputs = trial_inputs(network, facts, trial_shapes(shape, dynamic))
    capture = Capture(network, inputs[0], dynamic, outputs)
    description = describe(source, network, facts, inputs[0], dynamic, outputs)
    job = _Job(capture, inputs, description, options.tolerance)
    os.makedirs(out, exist_ok=True)
    parts = tempfile.mkdtemp(prefix='.deploy_', dir=out)
    try:
        done = [job.write(name, parts) for name in formats]
        return [_put_in_place(file, out) for file in done]
    finally:
        shutil.rmtree(parts, ignore_errors=True)


@dataclass(frozen=True)
class _Job:
    """What all formats of one export have in common."""

    capture: Capture
    inputs: list[Tensor]
    description: Mapping[str, Any]
    tolerance: float
    shapes: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        shapes = [list(batch.shape) for batch in self.inputs]
        object.__setattr__(self, 'shapes', shapes)

    def write(self, name: str, folder: str) -> ExportedFile:
        """Write, load again and compare; describe in a file beside it."""
        text = json.dumps(self.description)
        path = write_file(self.capture, name, folder, STEM, text)
        title = osp.basename(path)
        found = compare(
            FORMATS[name].run(path), self.capture.network, self.inputs, title
        )
        check_tolerance(found, self.tolerance, title)
        report = file_report(name, path, found, self.tolerance, self.shapes)
        with open(f'{path}.json', 'w', encoding='utf-8') as file:
            json.dump({**self.description, **report}, file, indent=2)
        return ExportedFile(name, path, osp.getsize(path), found)


def _put_in_place(file: ExportedFile, folder: str) -> ExportedFile:
    path = osp.join(folder, osp.basename(file.path))
    os.replace(file.path, path)
    os.replace(f'{file.path}.json', f'{path}.json')
    return ExportedFile(file.format, path, file.size, file.difference)


def _shape(source: Source, options: ExportOptions) -> tuple[int, int, int]:
    shape = options.shape or source.shape
    if shape is None:
        raise ValueError(
            f'{source.name} does not tell the shape of an image. Give it: '
            'shape=(c, h, w) (--shape C,H,W, such as 3,224,224).'
        )
    return _check_shape(shape, f'The input shape of {source.name}')


def _check_shape(shape: Sequence[int], subject: str) -> tuple[int, int, int]:
    if len(shape) != 3 or not all(
        isinstance(size, int) and size > 0 for size in shape
    ):
        raise ValueError(
            f'{subject} is {tuple(shape)}, expected three positive integers: '
            'channels, height and width of one image (--shape C,H,W).'
        )
    channels, height, width = shape
    return channels, height, width


def trial_inputs(
    network: DeployedNetwork,
    facts: Preprocessing,
    shapes: Sequence[Sequence[int]],
) -> list[Tensor]:
    """Random images, as the network takes them.

    Args:
        network (DeployedNetwork): To be exported.
        facts (Preprocessing): Of the model.
        shapes (Sequence[Sequence[int]]): ``(n, c, h, w)`` each.

    Returns:
        list[Tensor]: Always the same values.
    """
    random = torch.Generator().manual_seed(0)
    images = [
        torch.rand(tuple(shape), generator=random) * 255 for shape in shapes
    ]
    if network.preprocessor is not None:
        return images
    if not facts.known or facts.kind in ('none', 'BaseDataPreprocessor'):
        return [image / 255 for image in images]
    prepare = Preprocessor(facts)
    return [prepare(image) for image in images]
