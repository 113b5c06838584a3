"""Runs a script of ``tools/``, which a wheel holds under ``mmdhp/.mim``."""

import importlib.util
import os.path as osp
import sys
from collections.abc import Sequence

PACKAGE = osp.dirname(osp.dirname(osp.abspath(__file__)))


def find_script(name: str) -> str:
    """Path of a script.

    Args:
        name (str): Below ``tools/``, with slashes.

    Raises:
        FileNotFoundError: If neither the package nor its repository has it.
    """
    folders = (osp.join(PACKAGE, '.mim'), osp.dirname(PACKAGE))
    paths = [osp.join(folder, 'tools', *name.split('/')) for folder in folders]
    for path in paths:
        if osp.isfile(path):
            return path
    raise FileNotFoundError(
        f'tools/{name} belongs to mmdhp, but is neither {" nor ".join(paths)}.'
        ' Install mmdhp from a wheel or with `pip install .`, which bring it.'
    )


def run_script(program: str, name: str, arguments: Sequence[str]) -> int:
    """Run the ``main`` of a script in this process.

    Args:
        program (str): What its help calls it.
        name (str): Below ``tools/``, with slashes.
        arguments (Sequence[str]): Its command line.

    Returns:
        int: Exit status 0; a script that ends otherwise raises SystemExit.
    """
    path = find_script(name)
    stem = osp.splitext(osp.basename(path))[0]
    spec = importlib.util.spec_from_file_location(f'mmdhp_{stem}', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    saved = sys.argv, sys.path
    sys.argv = [program, *arguments]
    sys.path = [osp.dirname(path), *sys.path]  # for the files beside it
    try:
        spec.loader.exec_module(module)
        module.main()
    finally:
        sys.argv, sys.path = saved
    return 0
