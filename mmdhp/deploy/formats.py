"""The file formats: how each is written, and how each is run again."""

import contextlib
import importlib
import importlib.util
import logging
import os.path as osp
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Callable, Union

import torch
from torch import Tensor, nn
from torch.export import Dim

from .errors import ExportError, first_lines

INPUT = 'image'
DESCRIPTION = 'description'  # key of the description inside a file
# What may vary between two runs of a file: axis of the input -> its name.
AXES = {
    'none': {},
    'batch': {0: 'batch'},
    'size': {0: 'batch', 2: 'height', 3: 'width'},
}

Run = Callable[[Tensor], list[Tensor]]


class Capture:
    """A network with one example, and what exporters make of it.

    Args:
        network (nn.Module): Takes one tensor, returns a tuple of tensors.
        example (Tensor): Shape ``(n, c, h, w)``; n is 2, so that no exporter
            takes the batch for a constant.
        dynamic (str): ``'none'``, ``'batch'`` or ``'size'``, the last for
            batch, height and width.
        outputs (Sequence[str]): Names of the outputs.
    """

    def __init__(
        self,
        network: nn.Module,
        example: Tensor,
        dynamic: str,
        outputs: Sequence[str],
    ) -> None:
        self.network = network
        self.title = type(getattr(network, 'network', network)).__name__
        self.example = example
        self.axes = AXES[dynamic]
        self.outputs = list(outputs)

    @cached_property
    def program(self) -> torch.export.ExportedProgram:
        """What torch.export makes of the network; ONNX is made of it."""
        if not hasattr(Dim, 'DYNAMIC'):
            raise RuntimeError(
                f'PyTorch {torch.__version__} is too old; 2.6 or newer is '
                'needed for onnx and pt2. TorchScript works with any.'
            )
        shapes = ({axis: Dim.DYNAMIC for axis in self.axes},)
        with torch.no_grad(), without_guesses():
            return torch.export.export(
                self.network, (self.example,), dynamic_shapes=shapes
            )

    def write_onnx(self, path: str, description: str) -> None:
        """Write one file with weights, axis names and the description."""
        with quiet():
            program: Any = torch.onnx.export(
                self.program,
                (self.example,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=self.outputs,
                dynamic_shapes=(self.axes,),
            )
        program.model.metadata_props[DESCRIPTION] = description
        program.save(path, external_data=False)

    def write_pt2(self, path: str, description: str) -> None:
        """Write what ``torch.export.load`` reads."""
        torch.export.save(
            self.program, path, extra_files={DESCRIPTION: description}
        )

    def write_torchscript(self, path: str, description: str) -> None:
        """Write what ``torch.jit.load`` and LibTorch read."""
        with quiet(), torch.no_grad():
            traced = torch.jit.trace(
                self.network, (self.example,), check_trace=False
            )
            torch.jit.save(traced, path, {DESCRIPTION: description})


def run_onnx(path: str, threads: int = 0) -> Run:
    """Load a file into ONNX Runtime, on the CPU.

    Args:
        path (str): The file.
        threads (int): For one operator; 0 lets ONNX Runtime choose.
    """
    runtime = importlib.import_module('onnxruntime')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    session = runtime.InferenceSession(
        path, options, providers=['CPUExecutionProvider']
    )

    def run(image: Tensor) -> list[Tensor]:
        found = session.run(None, {INPUT: image.numpy()})
        return [torch.from_numpy(array) for array in found]

    return run


def run_pt2(path: str) -> Run:
    """Load a file of ``torch.export``."""
    module = torch.export.load(path).module()
    return lambda image: list(module(image))


def run_torchscript(path: str) -> Run:
    """Load a TorchScript file."""
    with quiet():
        module = torch.jit.load(path)
    return lambda image: list(module(image))


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        suffix (str): Of its files.
        write (Callable): Method of :class:`Capture`.
        run (Callable): From a path to a function of a batch.
        packages (tuple[str, ...]): What it takes beside PyTorch.
    """

    suffix: str
    write: Callable[[Capture, str, str], None]
    run: Callable[[str], Run]
    packages: tuple[str, ...] = ()


FORMATS: Mapping[str, Format] = {
    'onnx': Format(
        '.onnx',
        Capture.write_onnx,
        run_onnx,
        ('onnx', 'onnxscript', 'onnxruntime'),
    ),
    'pt2': Format('.pt2', Capture.write_pt2, run_pt2),
    'torchscript': Format(
        '.torchscript.pt', Capture.write_torchscript, run_torchscript
    ),
}


def chosen_formats(formats: Union[str, Sequence[str]]) -> list[str]:
    """Check names of formats, and that their packages are there.

    Args:
        formats (str | Sequence[str]): Names, or one text with commas.

    Raises:
        ValueError: If there is no such format.
        ExportError: If a package is missing.

    Examples:
        >>> chosen_formats('pt2,torchscript')
        ['pt2', 'torchscript']
    """
    names = formats.split(',') if isinstance(formats, str) else formats
    names = list(dict.fromkeys(name.strip() for name in names))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ValueError(
            f'formats: found {unknown or "none"}, expected one or several '
            f'of {list(FORMATS)}.'
        )
    needed = {p for name in names for p in FORMATS[name].packages}
    missing = sorted(p for p in needed if not _installed(p))
    if missing:
        raise ExportError(
            f'onnx: {", ".join(missing)} not installed, but needed to write '
            'and check ONNX files. Install with `pip install '
            '"mmdhp[export]"`, or choose the formats pt2 and torchscript.'
        )
    return names


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # sys.modules says that it is not
        return False


def write_file(
    capture: Capture, name: str, folder: str, stem: str, description: str
) -> str:
    """Write a network in one format.

    Returns:
        str: Path of the file, ``folder/stem`` with the format's suffix.

    Raises:
        ExportError: If the exporter cannot; with its own words.
    """
    path = osp.join(folder, stem + FORMATS[name].suffix)
    try:
        FORMATS[name].write(capture, path, description)
    except Exception as error:  # exporters raise anything
        varying = ' and '.join(capture.axes.values()) or 'nothing'
        hint = 'Other formats may work (--format).'
        if capture.axes:
            hint += (
                ' If the cause is Python code that depends on sizes, let '
                'less vary (--dynamic batch or --dynamic none).'
            )
        raise ExportError(
            f'{capture.title} cannot be written as {name} '
            f'for inputs of shape {list(capture.example.shape)}, with '
            f'{varying} free to vary. The exporter says:\n  '
            f'{first_lines(error)}\nNothing was written. {hint}'
        ) from error
    return path


def without_guesses() -> contextlib.AbstractContextManager:
    """Let torch.export not conclude from the sizes of its example.

    A network that fills images up and cuts its outputs would, exported with
    an example that needs it, refuse images that do not, and the other way
    round: the example's memory layout becomes a condition.
    """
    config: Any = importlib.import_module('torch.fx.experimental._config')
    if not hasattr(config, 'backed_size_oblivious'):  # an older PyTorch
        return contextlib.nullcontext()
    return config.patch(backed_size_oblivious=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters' progress reports and deprecation notices away."""
    loggers = [logging.getLogger(n) for n in ('onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)
