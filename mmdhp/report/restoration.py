"""One image before and after networks that restore images."""

import os.path as osp
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import is_model_wrapper
from mmengine.registry import DATASETS, METRICS, init_default_scope
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from mmdhp.costs.timing import latencies
from mmdhp.datasets import imresize
from mmdhp.graph import trace
from mmdhp.models.model_forward import run_model
from mmdhp.text import amount

Box = tuple[int, int, int, int]


@dataclass
class Panel:
    """One image of the picture.

    Attributes:
        title (str): What it is.
        image (np.ndarray): ``(H, W)`` or ``(H, W, 3)``, 8 bits.
        text (str): Figures below it.
    """

    title: str
    image: np.ndarray
    text: str = ''


def restores_images(cfg: Config) -> bool:
    """Whether a config tests an image restoration network by its PSNR."""
    return any(_psnr_of(entry) for entry in _aslist(cfg, 'test_evaluator'))


def find_image(cfg: Config, wanted: str) -> tuple[dict, Any]:
    """A sample of the test data, and the PSNR of its benchmark.

    Args:
        cfg (Config): Of the original network.
        wanted (str): ``BENCHMARK/NAME``, ``BENCHMARK`` or nothing.

    Raises:
        ValueError: If there is no such benchmark or image; names what there
            is.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    loaders = _aslist(cfg, 'test_dataloader')
    metrics = [_psnr(entry) for entry in _aslist(cfg, 'test_evaluator')]
    benchmark, _, name = wanted.partition('/')
    names = [metric.prefix or 'test' for metric in metrics]
    if benchmark and benchmark not in names:
        raise ValueError(
            f'there is no benchmark {benchmark}; the config tests '
            f'{", ".join(names)}.'
        )
    index = names.index(benchmark) if benchmark else 0
    dataset = DATASETS.build(loaders[index]['dataset'])
    found = {
        osp.splitext(osp.basename(dataset.get_data_info(i)['gt_path']))[0]: i
        for i in range(len(dataset))
    }
    if not found or (name and name not in found):
        raise ValueError(
            f'{names[index]} has no image {name}, but {len(found)} others: '
            f'{", ".join(sorted(found)[:8])}.'
        )
    return dataset[found[name or min(found)]], metrics[index]


def _aslist(cfg: Config, key: str) -> list[Any]:
    value = cfg.get(key) or []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _psnr_of(evaluator: dict) -> Any:
    """Config of the PSNR of an evaluator; None if it has none."""
    metrics = evaluator.get('metrics', evaluator)
    for metric in metrics if isinstance(metrics, list) else [metrics]:
        if str(metric.get('type')).rpartition('.')[2] == 'PSNR':
            return metric
    return None


def _psnr(evaluator: dict) -> Any:
    found = _psnr_of(evaluator)
    if found is None:
        raise ValueError(
            f'an evaluator of the config has no PSNR ({evaluator}); images '
            'are drawn of super-resolution and denoising.'
        )
    return METRICS.build(found)


def network_of(model: nn.Module) -> nn.Module:
    """The network of a model: MMagic's generator, else all of it."""
    if is_model_wrapper(model):
        return network_of(model.module)  # type: ignore[arg-type]
    return getattr(model, 'generator', model)


def to_image(tensor: Tensor) -> Image.Image:
    """Image of MMagic's ``(C, H, W)`` in [0, 255], gray or blue first."""
    pixels = tensor.detach().cpu().float().reshape(tensor.shape[-3:])
    pixels = pixels.clamp(0, 255).round().byte().flip(0).permute(1, 2, 0)
    array = np.ascontiguousarray(pixels.numpy())
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


@torch.no_grad()
def restore(model: nn.Module, sample: dict) -> tuple[Any, Tensor]:
    """Run a model on a sample.

    Returns:
        tuple: MMagic's data sample with the output, and what the network
        got, of shape ``(1, C, h, w)``.
    """
    seen: list[Tensor] = []
    handle = network_of(model).register_forward_pre_hook(
        lambda module, args: seen.append(args[0])
    )
    try:
        (result,) = model.test_step(  # type: ignore[operator]
            pseudo_collate([sample])
        )
    finally:
        handle.remove()
    return result, seen[0]


def psnr(metric: Any, image: Tensor, truth: Tensor) -> float:
    """PSNR of one image, both ``(C, H, W)`` and blue first."""
    metric.results.clear()
    sample = {'gt_img': truth, 'output': {'pred_img': image}}
    metric.process(None, [sample])
    return metric.results.pop()


def macs_of(model: nn.Module, inputs: Tensor) -> int:
    """MACs of convs and linear layers for an input."""
    batch = torch.zeros(2, *inputs.shape[1:], device=inputs.device)
    return int(trace(model, batch, forward=run_model).macs())


def make_panels(
    models: dict[str, nn.Module], sample: dict, metric: Any, rounds: int
) -> list[Panel]:
    """Restore an image by several networks and measure.

    Args:
        models (dict[str, nn.Module]): Title → model in eval mode.
        sample (dict): Of the test data.
        metric (BaseMetric): PSNR of its benchmark.
        rounds (int): Timed passes of every network.

    Returns:
        list[Panel]: Input, output of every network, ground truth.
    """
    found = [restore(model, sample) for model in models.values()]
    networks = [network_of(model) for model in models.values()]
    times = latencies(networks, found[0][1], run_model, rounds)
    truth = found[0][0].gt_img
    panels = [input_panel(found[0][0], truth, metric)]
    for (title, model), (result, inputs), ms in zip(
        models.items(), found, times
    ):
        restored = result.output.pred_img
        text = (
            f'{psnr(metric, restored, truth):.2f} dB\n'
            f'{amount(macs_of(model, inputs))}MACs, {ms:.1f} ms'
        )
        panels.append(Panel(title, np.asarray(to_image(restored)), text))
    panels.append(Panel('ground truth', np.asarray(to_image(truth))))
    return panels


def input_panel(result: Any, truth: Tensor, metric: Any) -> Panel:
    """What the networks got; enlarged by MATLAB's bicubic operator."""
    image = np.asarray(to_image(result.input))
    scale = truth.shape[-2] // image.shape[0]
    if scale == 1:
        image = image[: truth.shape[-2], : truth.shape[-1]]
    else:
        image = imresize(image, scale)
    blue_first = torch.from_numpy(np.atleast_3d(image).copy())
    blue_first = blue_first.permute(2, 0, 1).flip(0)
    text = f'{psnr(metric, blue_first, truth):.2f} dB'
    return Panel('input' if scale == 1 else f'bicubic x{scale}', image, text)


def detail_of(image: np.ndarray) -> Box:
    """Left, top, width and height of where an image varies most.

    Args:
        image (np.ndarray): ``(H, W)`` or ``(H, W, 3)``.
    """
    gray = torch.from_numpy(np.atleast_3d(image).mean(axis=2))[None, None]
    height, width = gray.shape[-2:]
    size = min(max(min(height, width) // 4, 32), height, width)
    mean = F.avg_pool2d(gray, size, stride=1)
    variance = F.avg_pool2d(gray**2, size, stride=1) - mean**2
    top, left = divmod(int(variance.argmax()), variance.shape[-1])
    return left, top, size, size


def draw_panels(panels: Sequence[Panel], crop: Box, path: str) -> None:
    """Write the picture: the whole image with a frame, then the details."""
    from matplotlib import figure, patches

    left, top, width, height = crop
    drawn = figure.Figure(figsize=(3 * len(panels) + 3, 3.8))
    axes = drawn.subplots(1, len(panels) + 1)
    whole = panels[-1].image
    axes[0].imshow(whole, cmap='gray', vmin=0, vmax=255)
    axes[0].add_patch(
        patches.Rectangle(
            (left, top), width, height, fill=False, edgecolor='red'
        )
    )
    for axis, panel in zip(axes[1:], panels):
        detail = panel.image[top : top + height, left : left + width]
        axis.imshow(
            detail, cmap='gray', vmin=0, vmax=255, interpolation='nearest'
        )
        axis.set_title(panel.title)
        axis.set_xlabel(panel.text)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    drawn.tight_layout()
    drawn.savefig(path, dpi=150)
