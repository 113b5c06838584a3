"""A model as a function from one tensor to tensors, ready for an exporter."""

from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from mmdhp.models.model_forward import is_two_stage

from .errors import ExportError, first_lines
from .preprocessing import Preprocessing, Preprocessor, preprocessing_of

# What a model is for, as far as a file for other runtimes is concerned.
RESTORATION, CLASSIFICATION, RAW = 'restoration', 'classification', 'raw'


class DeployedNetwork(nn.Module):
    """What is exported: one image batch in, one or several tensors out.

    Args:
        network (nn.Module): Called with the batch alone.
        facts (Preprocessing): Of the model.
        task (str): ``'restoration'``, ``'classification'`` or ``'raw'``.
        with_preprocess (bool): Whether preprocessing is a part of it, and
            for restoration the way back to an image. Defaults to False.
    """

    def __init__(
        self,
        network: nn.Module,
        facts: Preprocessing,
        task: str,
        with_preprocess: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.preprocessor = Preprocessor(facts) if with_preprocess else None

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run.

        Args:
            image (Tensor): Shape ``(n, c, h, w)``. Bytes as floats from 0 to
                255 if preprocessing is a part, else normalised.

        Returns:
            tuple[Tensor, ...]: All tensors of the network's output, in order.
        """
        if self.preprocessor is None:
            return tensors_of(self.network(image))
        inputs = self.preprocessor(image)
        outputs = tensors_of(self.network(inputs))
        if self.task != RESTORATION:
            return outputs
        restored = self.preprocessor.images_of(outputs[0])
        if self.preprocessor.facts.pad_divisor > 1:
            scale = restored.shape[-1] // inputs.shape[-1]
            height, width = image.shape[-2:]
            restored = restored[..., : height * scale, : width * scale]
        return (restored,)


def tensors_of(outputs: Any) -> tuple[Tensor, ...]:
    """All tensors of nested outputs, in order; the rest must be None."""
    return tuple(tensor for _, tensor in named_outputs(outputs))


def named_outputs(outputs: Any) -> list[tuple[str, Tensor]]:
    """Tensors of nested outputs with names that tell where they were.

    Raises:
        ExportError: If there is something else, or nothing.

    Examples:
        >>> scores, boxes = torch.zeros(2, 5), [torch.zeros(3, 4)]
        >>> [name for name, _ in named_outputs((scores, boxes))]
        ['output_0', 'output_1_0']
    """
    found = []
    for path, leaf in tree_flatten_with_path(outputs)[0]:
        if leaf is None:
            continue
        name = 'output' + ''.join(f'_{_plain(keystr((k,)))}' for k in path)
        if not isinstance(leaf, Tensor):
            raise ExportError(
                f'{name} of the model is a {type(leaf).__name__}. Expected '
                "tensors, which OpenMMLab's models return in mode='tensor'; "
                'objects with results cannot be exported.'
            )
        found.append((name, leaf))
    if not found:
        raise ExportError('The model returns no tensor: nothing to export.')
    return found


def _plain(key: str) -> str:
    """A step into nested outputs without its brackets, dots and quotes."""
    return ''.join(c for c in key if c.isalnum() or c == '_')


@torch.no_grad()
def deployed(
    model: nn.Module,
    cfg: Config,
    shape: tuple[int, ...],
    with_preprocess: bool = False,
) -> tuple[DeployedNetwork, Preprocessing, list[str]]:
    """Make a model exportable.

    Args:
        model (nn.Module): On the CPU, in evaluation mode.
        cfg (Config): Its config.
        shape (tuple[int, ...]): One input without the batch axis.
        with_preprocess (bool): As for :class:`DeployedNetwork`.

    Returns:
        tuple[DeployedNetwork, Preprocessing, list[str]]: The last are names
        of its outputs.

    Raises:
        ExportError: If the model cannot run as it must.
    """
    _check_kind(model)
    facts = preprocessing_of(model, cfg, shape[0])
    if with_preprocess and not facts.known:
        raise ExportError(
            f'{type(model).__name__}: its {facts.kind} is not one that '
            'mmdhp can make a part of the network. Export without '
            'with_preprocess (--with-preprocess), and normalise outside.'
        )
    images = torch.rand(2, *shape)
    try:
        outputs = model(images)
    except Exception as error:  # whatever a model may raise
        raise ExportError(
            f'{type(model).__name__} cannot run on images of shape '
            f"{list(shape)}, mode='tensor': {first_lines(error)}. Give a "
            'shape that suits the architecture (--shape C,H,W).'
        ) from error
    names = [name for name, _ in named_outputs(outputs)]
    task = _task(model, tensors_of(outputs))
    if with_preprocess and task == RESTORATION and len(names) != 1:
        raise ExportError(
            f'{type(model).__name__} restores images, but has '
            f'{len(names)} outputs, {", ".join(names)}; which is the image is '
            'unknown. Export without with_preprocess (--with-preprocess).'
        )
    network = _without_losses(model, images, tensors_of(outputs))
    return DeployedNetwork(network, facts, task, with_preprocess), facts, names


def _check_kind(model: nn.Module) -> None:
    name = type(model).__name__
    if is_two_stage(model) or hasattr(model, 'pre_transformer'):
        kind = 'two-stage' if is_two_stage(model) else 'transformer'
        raise ExportError(
            f"{name} is a {kind} detector: mode='tensor' needs more than "
            'images. Only one-stage detectors can be exported here, up to '
            'their raw outputs; MMDeploy exports others with the exported '
            'pruned_config.py and pruned.pth.'
        )


def _task(model: Any, outputs: tuple[Tensor, ...]) -> str:
    if hasattr(model, 'generator') and outputs[0].dim() == 4:
        return RESTORATION
    if hasattr(model, 'head') and [t.dim() for t in outputs] == [2]:
        return CLASSIFICATION
    return RAW


def _without_losses(
    model: Any, images: Tensor, expected: tuple[Tensor, ...]
) -> nn.Module:
    """The generator alone, if that is all the model runs.

    A model that restores images may hold discriminators and perceptual
    losses, which have no place in a file for inference.
    """
    for name in ('generator_ema', 'generator'):
        part = getattr(model, name, None)
        if not isinstance(part, nn.Module):
            continue
        try:
            found = tensors_of(part(images))
        except Exception:  # a part that needs more than the images
            continue
        if len(found) == len(expected) and all(
            torch.equal(a, b) for a, b in zip(found, expected)
        ):
            return part
    return model
