"""The command line, ``mmdhp COMMAND ...``.

A command is a module of this folder with ``add_arguments(parser)`` and
``run(args)``, or a script of ``tools/``. Neither is imported before it is
called, so that the help appears at once.
"""

import argparse
import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn, Optional

from mmdhp.version import __version__

# Command -> what it does, in the order of a project's life.
COMMANDS = {
    'inspect': 'list what can be pruned, what cannot and why',
    'config': 'write a pruning config for any OpenMMLab config',
    'train': 'train a config: search, cut, fine-tune, export',
    'prune': 'prune a trained checkpoint at once, without training',
    'test': 'measure a checkpoint or an exported model',
    'compare': 'compare finished runs: table and plot',
    'report': 'make a page with the pictures of a run',
    'export': 'write a pruned model as ONNX, torch.export or TorchScript',
}

# Command -> the script of tools/ that it runs.
SCRIPTS = {
    'train': 'train.py',
    'test': 'test.py',
    'compare': 'analysis_tools/compare.py',
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as all of mmdhp does."""

    def error(self, message: str) -> NoReturn:
        """End with the message alone."""
        self.exit(2, f'error: {message}\n')


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one command.

    Args:
        arguments (Sequence[str], optional): As in a shell, without the
            program's name. Defaults to those of this process.

    Returns:
        int: Exit status.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] not in COMMANDS:
        return _without_command(given)
    if given[0] in SCRIPTS:
        return _run_script(given[0], given[1:])
    module = importlib.import_module(f'{__name__}.{given[0]}')
    parser = argparse.ArgumentParser(
        prog=f'mmdhp {given[0]}',
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    args = parser.parse_args(given[1:])
    from .common import clear_errors  # imports PyTorch: not for the help

    with clear_errors(), _broken_pipe():
        return module.run(args) or 0
    return 0


@contextlib.contextmanager
def _broken_pipe() -> Iterator[None]:
    """Say nothing where the reader, such as ``head``, has gone."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for the flush at exit


def _run_script(command: str, arguments: Sequence[str]) -> int:
    from .script import run_script

    return run_script(f'mmdhp {command}', SCRIPTS[command], arguments)


def _without_command(given: Sequence[str]) -> int:
    """Answer to ``--help``, ``--version``, nothing, or a misspelling."""
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {text}' for name, text in COMMANDS.items()]
    parser = _Parser(
        prog='mmdhp',
        usage='mmdhp COMMAND ...',
        description='Automatic channel pruning for OpenMMLab models.',
        epilog='\n'.join(
            ['commands:', *lines, '', 'mmdhp COMMAND --help tells more.']
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--version', action='version', version=f'mmdhp {__version__}'
    )
    if not given:
        parser.print_help()
        return 0
    if not given[0].startswith('-'):
        near = difflib.get_close_matches(given[0], COMMANDS, 1)
        hint = f' Did you mean {near[0]!r}?' if near else ''
        parser.error(
            f'there is no command {given[0]!r}; there are '
            f'{", ".join(COMMANDS)}.{hint}'
        )
    parser.parse_args(given)
    return 0
