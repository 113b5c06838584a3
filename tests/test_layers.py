"""Who may import whom inside the package, checked on the source."""

import ast
import sys
from importlib.util import resolve_name
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'mmdhp'

CORE = {'graph', 'surgery', 'programs', 'costs'}
METHODS = {'registry', 'version', 'text', 'methods', *CORE}
PARTS = METHODS | {'models', 'datasets', 'evaluation'}
RUNS = PARTS | {'checks', 'stages', 'checkpoints', 'release', 'engine'}

# Top folder or file -> what it may import of mmdhp besides itself.
INTERNAL = {
    '__init__': {'compat', 'version', *CORE},
    'version': set(),
    'text': set(),
    'compat': set(),
    'registry': set(),
    'graph': set(),
    'surgery': {'graph'},
    'programs': {'graph'},
    'costs': {'graph', 'surgery'},
    'methods': METHODS,
    'models': METHODS,
    'datasets': METHODS,
    'evaluation': METHODS,
    # What the hooks do, in this order: a stage checks the numbers of its
    # model, a checkpoint notes where its stage stands, an export ends one.
    'checks': PARTS,
    'stages': PARTS | {'checks'},
    'checkpoints': PARTS | {'stages'},
    'release': PARTS | {'stages'},
    'engine': RUNS,
    'report': RUNS,
    'deploy': RUNS,
    'apis': RUNS,
    'cli': RUNS | {'apis', 'report', 'deploy'},
    '__main__': {'cli'},
}

# Top folder or file -> third-party packages; what is missing here is free.
EXTERNAL = {
    '__init__': set(),
    'version': set(),
    'text': set(),
    'compat': {'torch', 'torchvision'},
    'registry': {'mmengine'},
    'graph': {'torch', 'numpy'},
    'surgery': {'torch', 'numpy'},
    'programs': {'torch', 'numpy'},
    'costs': {'torch', 'numpy'},
    'methods': {'torch', 'numpy'},
}


def imported_names(file, package):
    """Absolute dotted names that ``file`` imports, at any depth of nesting."""
    relative = file.relative_to(package.parent).with_suffix('')
    parent = '.'.join(relative.parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name(
                '.' * node.level + (node.module or ''), parent
            )
            if module == package.name:
                yield from (f'{module}.{alias.name}' for alias in node.names)
            else:
                yield module


def allowed(layer, name, package):
    """Whether code of ``layer`` may import the dotted ``name``."""
    top, *rest = name.split('.')
    if top == package.name:
        return bool(rest) and rest[0] in INTERNAL[layer] | {layer}
    return (
        layer not in EXTERNAL
        or top in EXTERNAL[layer]
        or top in sys.stdlib_module_names
    )


def violations(package):
    """Every import of ``package`` that the two tables do not allow."""
    found = []
    for file in sorted(package.rglob('*.py')):
        layer = file.relative_to(package).with_suffix('').parts[0]
        where = file.relative_to(package.parent).as_posix()
        if layer not in INTERNAL:
            found.append(f'{where}: {layer} has no layer')
            continue
        found += [
            f'{where}: {layer} imports {name}'
            for name in imported_names(file, package)
            if not allowed(layer, name, package)
        ]
    return found


def below(layer):
    """All that ``layer`` may import, itself or through others."""
    found, new = set(), INTERNAL[layer] - {layer}
    while new:
        found |= new
        new = set().union(*(INTERNAL[name] - {name} for name in new)) - found
    return found


@pytest.mark.parametrize('layer', INTERNAL)
def test_no_layer_may_import_itself_through_others(layer):
    assert layer not in below(layer)


def test_every_import_follows_the_layers():
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ('path', 'source', 'name'),
    [
        ('graph/bad.py', 'import mmengine', 'mmengine'),
        ('graph/bad.py', 'import torchvision.models', 'torchvision.models'),
        ('graph/bad.py', 'from mmdhp.surgery import x', 'mmdhp.surgery'),
        ('graph/bad.py', 'from ..surgery import x', 'mmdhp.surgery'),
        ('graph/bad.py', 'from .. import surgery', 'mmdhp.surgery'),
        ('graph/bad.py', 'from mmdhp import engine', 'mmdhp.engine'),
        ('graph/bad.py', 'import mmdhp', 'mmdhp'),
        ('graph/bad.py', 'def f():\n    import scipy', 'scipy'),
        ('surgery/bad.py', 'from mmdhp.programs import x', 'mmdhp.programs'),
        ('programs/bad.py', 'import mmdhp.registry', 'mmdhp.registry'),
        ('methods/bad.py', 'from mmengine import x', 'mmengine'),
        ('methods/bad.py', 'import mmdhp.engine.hooks', 'mmdhp.engine.hooks'),
        ('models/bad.py', 'from mmdhp.engine import x', 'mmdhp.engine'),
        ('stages/bad.py', 'from mmdhp.engine import x', 'mmdhp.engine'),
        ('release/bad.py', 'from mmdhp.engine import x', 'mmdhp.engine'),
        ('checks/bad.py', 'from mmdhp.stages import x', 'mmdhp.stages'),
        ('compat/bad.py', 'from mmdhp.version import x', 'mmdhp.version'),
        ('registry.py', 'import mmdhp.methods', 'mmdhp.methods'),
        ('__init__.py', 'from . import methods', 'mmdhp.methods'),
    ],
)
def test_a_forbidden_import_is_found(tmp_path, path, source, name):
    file = tmp_path / 'mmdhp' / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    layer = file.relative_to(tmp_path / 'mmdhp').with_suffix('').parts[0]
    assert violations(tmp_path / 'mmdhp') == [
        f'mmdhp/{path}: {layer} imports {name}'
    ]


@pytest.mark.parametrize(
    ('path', 'source'),
    [
        ('graph/good.py', 'import ast, torch.nn\nfrom . import rules'),
        ('graph/good.py', 'from mmdhp.graph.rules import x'),
        ('methods/good.py', 'from mmdhp.registry import PRUNERS'),
        ('models/good.py', 'import mmpretrain\nfrom ..methods import dhp'),
        ('engine/good.py', 'from mmengine import x\nimport mmdhp.models'),
        ('__init__.py', 'from .version import __version__'),
    ],
)
def test_an_allowed_import_is_not_found(tmp_path, path, source):
    file = tmp_path / 'mmdhp' / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    assert violations(tmp_path / 'mmdhp') == []


def test_a_folder_without_a_layer_is_found(tmp_path):
    folder = tmp_path / 'mmdhp' / 'utils'
    folder.mkdir(parents=True)
    (folder / 'misc.py').touch()
    assert violations(tmp_path / 'mmdhp') == [
        'mmdhp/utils/misc.py: utils has no layer'
    ]
