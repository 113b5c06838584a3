"""Figures that papers report, and what the axes of plots show."""

import csv
import os.path as osp
import re
from collections.abc import Mapping

from mmengine.config import Config

PUBLISHED = osp.join(osp.dirname(osp.abspath(__file__)), 'published.csv')

# Papers' names that do not stand in the names of configs.
ALIASES = {'densenet1240': 'densenet40'}


def label_of(metric: str) -> str:
    """Axis or column title; accuracies are shown as errors.

    Examples:
        >>> label_of('accuracy/top1'), label_of('Set5/PSNR')
        ('top1 error %', 'Set5/PSNR')
    """
    if metric.startswith('accuracy/'):
        return f'{metric.partition("/")[2]} error %'
    return metric


def quality(metrics: Mapping[str, float], metric: str) -> float:
    """What :func:`label_of` names.

    Args:
        metrics (Mapping[str, float]): Of a validation.
        metric (str): One of their names.
    """
    value = metrics[metric]
    return 100 - value if metric.startswith('accuracy/') else value


def published_rows(network: str, data: str) -> list[dict[str, str]]:
    """Figures of papers.

    Args:
        network (str): As in ``published.csv``, for example ``'ResNet-56'``.
        data (str): Likewise, for example ``'CIFAR-10'``.

    Raises:
        ValueError: If there are none; names what there is.
    """
    rows = _all_rows()
    found = [r for r in rows if (r['network'], r['data']) == (network, data)]
    if not found:
        known = sorted({f'{r["network"]} {r["data"]}' for r in rows})
        raise ValueError(
            f'there are no published figures for {network} {data}; '
            f'there are {", ".join(known)}.'
        )
    return found


def published_for(cfg: Config, name: str) -> list[dict[str, str]]:
    """Figures of papers for the network and data of a config, if any.

    Args:
        cfg (Config): Of a run.
        name (str): Name of the config file, which names the network, as in
            ``resnet56_dhp50.py``.
    """
    first = _plain(osp.basename(name).partition('_')[0])
    words = _words(cfg)
    found = [
        row
        for row in _all_rows()
        if _config_name(row['network']) == first
        and all(part in words for part in _data_words(row['data']))
    ]
    return found


def _all_rows() -> list[dict[str, str]]:
    with open(PUBLISHED, encoding='utf-8') as file:
        return list(csv.DictReader(file))


def _plain(text: str) -> str:
    """Lower-case letters and digits.

    Examples:
        >>> _plain('Tiny-ImageNet')
        'tinyimagenet'
    """
    return re.sub('[^a-z0-9]', '', text.lower())


def _config_name(network: str) -> str:
    return ALIASES.get(_plain(network), _plain(network))


def _words(cfg: Config) -> set[str]:
    """Types, folders and numbers in the data part of a config."""
    loaders = {
        key: cfg.get(key)
        for key in (
            'train_dataloader',
            'val_dataloader',
            'test_dataloader',
            'test_evaluator',
        )
    }
    words = {_plain(word) for word in re.findall(r'[\w-]+', str(loaders))}
    for key in ('sigma', 'scale'):
        words.add(f'{key}{cfg.get(key)}')
    return words


def _data_words(data: str) -> list[str]:
    """What a config says that uses some data.

    Examples:
        >>> _data_words('BSD68 sigma 70'), _data_words('Set5 x4')
        (['bsd68', 'sigma70'], ['set5', 'scale4'])
        >>> _data_words('CIFAR-10')
        ['cifar10']
    """
    name, _, rest = data.partition(' ')
    rest = _plain(rest)
    if re.fullmatch(r'x\d+', rest):
        rest = f'scale{rest[1:]}'
    return [_plain(name), *([rest] if rest else [])]
