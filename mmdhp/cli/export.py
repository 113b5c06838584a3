"""Write a pruned model as ONNX, torch.export (.pt2) or TorchScript.

The files run without mmdhp and OpenMMLab's packages. Each is compared with
PyTorch on random images before it is put in place.

Examples:
  mmdhp export work_dirs/my_run
  mmdhp export work_dirs/my_run/pruned --format onnx,pt2,torchscript
  mmdhp export my_config.py --checkpoint epoch_90.pth --shape 3,224,224
"""

import argparse

# Names of formats and choices are repeated here so that the help appears
# without PyTorch; a test compares them.
FORMATS = ('onnx', 'pt2', 'torchscript')
DYNAMIC = ('auto', 'none', 'batch', 'size')
TOLERANCE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        'source',
        help='work folder of a finished run, its folder `pruned`, or a config',
    )
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help='weights, pruned or not: needed with a config; with a folder '
        'they replace its pruned.pth',
    )
    parser.add_argument(
        '--format',
        default='onnx',
        metavar='LIST',
        help=f'of {", ".join(FORMATS)}, with commas between (default: onnx)',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder for the files (default: `deploy` in the source, or '
        'beside the checkpoint of a config)',
    )
    parser.add_argument(
        '--shape',
        type=_shape,
        metavar='C,H,W',
        help='one image (default: the input_shape of the pruning)',
    )
    parser.add_argument(
        '--dynamic',
        choices=DYNAMIC,
        default='auto',
        help='what may vary between runs: nothing, the batch, or batch, '
        'height and width (default: size for image restoration, else batch)',
    )
    parser.add_argument(
        '--with-preprocess',
        action='store_true',
        help='make normalisation a part of the network: it takes values from '
        '0 to 255, and returns such images if it restores images',
    )
    parser.add_argument(
        '--tolerance',
        type=float,
        default=TOLERANCE,
        help='largest difference from PyTorch, as a fraction of the largest '
        'output (default: %(default)s)',
    )


def _shape(text: str) -> tuple[int, ...]:
    """Three sizes with commas, or x, between."""
    try:
        sizes = tuple(int(part) for part in text.replace('x', ',').split(','))
    except ValueError:
        sizes = ()
    if len(sizes) != 3:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not C,H,W, such as 3,224,224'
        )
    return sizes


def run(args: argparse.Namespace) -> None:
    """Export and print what was written."""
    from mmdhp.deploy import ExportOptions, export_model
    from mmdhp.text import table

    files = export_model(
        args.source,
        args.format,
        args.out,
        args.checkpoint,
        ExportOptions(
            shape=args.shape,
            dynamic=args.dynamic,
            with_preprocess=args.with_preprocess,
            tolerance=args.tolerance,
        ),
    )
    rows = [
        [
            file.path,
            f'{file.size / 2**20:.2f} MiB',
            f'{file.difference.absolute:.2e}',
            f'{file.difference.relative:.2e}',
        ]
        for file in files
    ]
    print(table(rows, ['file', 'size', 'max difference', 'of the largest']))
    print('Beside each file, a .json tells how to prepare its inputs.')
