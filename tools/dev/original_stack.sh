#!/usr/bin/env bash
# Run the core of the test suite with OpenMMLab's original packages.
#
# Usage: tools/dev/original_stack.sh [FOLDER] [arguments of pytest]
# FOLDER is a second environment (default: .venvs/original), made once. It
# holds the packages of requirements/original.txt and takes everything else,
# PyTorch included, from the first one: nothing large is downloaded. Set
# PYTHON if that is not .venv/bin/python. With further arguments, those are
# run instead of the core.
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
base=${PYTHON:-.venv/bin/python}
folder=${1:-.venvs/original}
[ $# -gt 0 ] && shift

if ! "$base" -c 'import torch' 2>/dev/null; then
    echo "$base has no PyTorch. Run 'make env' first, or set PYTHON." >&2
    exit 1
fi

stamp=$folder/.installed
if ! cmp -s requirements/original.txt "$stamp"; then
    echo "Setting up $folder: a few MB ..."
    "$base" -m venv "$folder"
    site=$("$folder/bin/python" -c \
        'import sysconfig; print(sysconfig.get_path("purelib"))')
    # Behind the second environment's own packages, so those win.
    "$base" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
        >"$site/first_environment.pth"
    # The build needs PyTorch, which is there; no operators are compiled.
    MMCV_WITH_OPS=0 "$folder/bin/python" -m pip install --quiet \
        --disable-pip-version-check --ignore-installed --no-deps \
        --no-build-isolation -r requirements/original.txt
    cp requirements/original.txt "$stamp"
fi

python=$folder/bin/python
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
"$python" - <<'EOF'
import importlib

for name in ('mmengine', 'mmcv', 'mmpretrain', 'mmdet'):
    try:
        module = importlib.import_module(name)
        print(f'{name} {module.__version__} ({module.__path__[0]})')
    except Exception as error:
        print(f'{name} does not import: {type(error).__name__}: {error}')
EOF

# What meets MMEngine and its companions. Left out are the graphs, which know
# PyTorch only, and restoration: MMagic asks for another mmcv still.
core=(
    tests/test_checks tests/test_stages tests/test_checkpoints
    tests/test_release tests/test_engine tests/test_runs
    tests/test_methods tests/test_models tests/test_programs
    tests/test_datasets tests/test_tools/test_cli.py
)
[ $# -gt 0 ] && core=("$@")
exec "$python" -m pytest -p no:cacheprovider "${core[@]}"
