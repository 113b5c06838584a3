import importlib
import importlib.util
import json
import os
import py_compile
import subprocess
import sys
import textwrap
from importlib.machinery import SourceFileLoader

import numpy as np
import pytest

from mmdhp import compat
from mmdhp.compat import import_hook
from mmdhp.compat import mmagic as hook

# Stand-ins with the four weak spots of MMagic 1.2.0, and one sound editor.
WEAK = {
    'mmcv/__init__.py': "__version__ = '2.3.6'",
    'diffusers/__init__.py': '',
    'diffusers/pipelines.py': """
        import sys, types

        class Lazy(types.ModuleType):
            def __dir__(self):
                return ['Sound', 'Broken']

            def __getattr__(self, name):
                if name == 'Sound':
                    return 'a pipeline'
                raise RuntimeError('needs transformers')

        sys.modules[__name__] = Lazy(__name__)
    """,
    'mmagic/__init__.py': """
        import mmcv
        seen = mmcv.__version__
        assert seen < '2.2', seen
    """,
    'mmagic/utils/__init__.py': '',
    'mmagic/utils/trans_utils.py': """
        import numpy as np
        value_range = {np.bool8: (False, True)}
    """,
    'mmagic/models/__init__.py': """
        import mmagic.utils.trans_utils
        from .editors import *
    """,
    'mmagic/models/archs/__init__.py': """
        from diffusers import pipelines
        members = [getattr(pipelines, name) for name in dir(pipelines)]
    """,
    'mmagic/models/editors/__init__.py': """
        from .edsr import EDSRNet
        from .edvr import EDVRNet
        from .vico import ViCo
        __all__ = ['EDSRNet', 'EDVRNet', 'ViCo']
    """,
    'mmagic/models/editors/edsr/__init__.py': """
        import mmagic.models.archs
        class EDSRNet: ...
    """,
    'mmagic/models/editors/edvr/__init__.py': 'import mmcv.absent',
    'mmagic/models/editors/vico/__init__.py': "raise ValueError('outdated')",
}

# The same without a weak spot.
SOUND = {
    **WEAK,
    'diffusers/pipelines.py': "Sound = 'a pipeline'",
    'mmagic/__init__.py': 'import mmcv; seen = mmcv.__version__',
    'mmagic/utils/trans_utils.py': """
        import numpy as np
        aliased = 'bool8' in vars(np)
    """,
    'mmagic/models/archs/__init__.py': """
        from diffusers import pipelines
        names = dir(pipelines)
    """,
    'mmagic/models/editors/edvr/__init__.py': 'class EDVRNet: ...',
    'mmagic/models/editors/vico/__init__.py': 'class ViCo: ...',
}


def faked_modules():
    roots = ('mmagic', 'mmcv', 'diffusers')
    return [name for name in sys.modules if name.split('.')[0] in roots]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write stand-ins for packages, which hide the real ones in this test."""
    hidden = {name: sys.modules.pop(name) for name in faked_modules()}
    monkeypatch.setattr(hook, '_unavailable', {})
    monkeypatch.setattr(sys, 'meta_path', without_finder())
    monkeypatch.delitem(vars(np), 'bool8', raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write_files(files):
        for path, source in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()

    yield write_files
    for name in faked_modules():
        del sys.modules[name]
    sys.modules.update(hidden)


def without_finder():
    finder = import_hook.is_executor_finder
    return [f for f in sys.meta_path if not finder(f)]


def test_the_weak_package_does_not_import_by_itself(write):
    write(WEAK)
    with pytest.raises(AssertionError, match='2.3.6'):
        importlib.import_module('mmagic')


def test_failing_editors_are_recorded_and_the_others_work(write):
    write(WEAK)
    mmagic = compat.import_mmagic()
    assert mmagic.models.EDSRNet.__module__ == 'mmagic.models.editors.edsr'
    assert mmagic.models.editors.__all__ == ['EDSRNet']
    assert compat.unavailable_editors() == {
        'edvr': "ModuleNotFoundError: No module named 'mmcv.absent'",
        'vico': 'ValueError: outdated',
    }


def test_the_answer_cannot_change_the_record(write):
    write(WEAK)
    compat.import_mmagic()
    compat.unavailable_editors().clear()
    assert set(compat.unavailable_editors()) == {'edvr', 'vico'}


def test_what_was_presented_is_restored(write):
    write(WEAK)
    mmagic = compat.import_mmagic()
    assert mmagic.seen == '2.0.1'
    assert sys.modules['mmcv'].__version__ == '2.3.6'
    assert mmagic.utils.trans_utils.value_range == {np.bool_: (False, True)}
    assert 'bool8' not in vars(np)
    assert mmagic.models.archs.members == ['a pipeline']
    pipelines = sys.modules['diffusers.pipelines']
    assert dir(pipelines) == ['Broken', 'Sound']


def test_what_was_presented_is_restored_after_a_failure(write):
    write({**WEAK, 'mmagic/__init__.py': "assert False, 'mmengine too new'"})
    with pytest.raises(AssertionError, match='mmengine too new'):
        compat.import_mmagic()
    assert sys.modules['mmcv'].__version__ == '2.3.6'


def test_a_plain_import_works_once_installed(write):
    write(WEAK)
    compat.install()
    editors = importlib.import_module('mmagic.models.editors')
    assert editors.EDSRNet is importlib.import_module('mmagic.models').EDSRNet


def test_a_sound_package_sees_nothing_of_the_hook(write):
    write(SOUND)
    mmagic = compat.import_mmagic()
    assert mmagic.seen == '2.3.6'
    assert mmagic.utils.trans_utils.aliased is False
    assert mmagic.models.archs.names == dir(sys.modules['diffusers.pipelines'])
    assert mmagic.models.editors.__all__ == ['EDSRNet', 'EDVRNet', 'ViCo']
    assert compat.unavailable_editors() == {}


def test_diffusers_is_not_required_where_the_package_does_without(write):
    no_diffusers = {
        'diffusers/pipelines.py': 'raise ImportError("not installed")',
        'mmagic/models/archs/__init__.py': 'names = []',
    }
    write({**SOUND, **no_diffusers})
    assert compat.import_mmagic().models.archs.names == []


def test_modules_keep_their_own_loader(write):
    write(WEAK)
    mmagic = compat.import_mmagic()
    for module in (mmagic, mmagic.models.archs, mmagic.models.editors):
        assert type(module.__loader__) is SourceFileLoader
        assert module.__spec__.loader is module.__loader__


def test_editors_without_source_are_imported_as_they_are(write, tmp_path):
    write(SOUND)
    file = tmp_path / 'mmagic/models/editors/__init__.py'
    py_compile.compile(str(file), cfile=str(file.with_suffix('.pyc')))
    file.unlink()
    importlib.invalidate_caches()
    mmagic = compat.import_mmagic()
    assert mmagic.models.editors.__file__.endswith('.pyc')
    assert mmagic.models.ViCo.__name__ == 'ViCo'


def test_only_imports_may_fail_among_the_editors(write):
    editors = 'raise OSError("disk full")'
    write({**WEAK, 'mmagic/models/editors/__init__.py': editors})
    with pytest.raises(OSError, match='disk full'):
        compat.import_mmagic()


def test_importing_again_gives_the_same_package(write):
    write(WEAK)
    assert compat.import_mmagic() is compat.import_mmagic()


def test_installing_again_changes_nothing(write):
    compat.install()
    once = list(sys.meta_path)
    compat.install()
    assert sys.meta_path == once
    assert len(once) == len(without_finder()) + 2  # MMagic, MMDetection


def test_a_missing_package_is_explained(write, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmagic', None)
    with pytest.raises(ImportError, match=r'pip install "mmdhp\[mmagic\]"'):
        compat.import_mmagic()


def test_a_missing_requirement_is_not_mistaken_for_the_package(write):
    write({**WEAK, 'mmagic/__init__.py': 'import absent_requirement'})
    with pytest.raises(ModuleNotFoundError, match='absent_requirement'):
        compat.import_mmagic()


def test_an_albumentations_setting_of_the_user_is_kept(monkeypatch):
    monkeypatch.setenv('NO_ALBUMENTATIONS_UPDATE', '0')
    compat.install()
    assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '0'


def run_python(source):
    """Run ``source`` in a fresh interpreter; its last line is the answer."""
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_installing_imports_nothing_heavy():
    added = run_python("""
        import json, sys
        from mmdhp import compat
        compat.install()
        heavy = {
            'albumentations', 'diffusers', 'mmagic', 'mmcv', 'mmdet',
            'torchvision'}
        print(json.dumps(sorted(heavy & set(sys.modules))))
    """)
    assert added == []


def test_the_real_mmagic_works_without_network():
    if importlib.util.find_spec('mmagic') is None:
        pytest.skip('mmagic is not installed')
    answer = run_python("""
        import json, socket

        attempts = []

        def refuse(*args, **kwargs):
            attempts.append(repr(args))
            raise OSError('no network in this test')

        socket.socket.connect = socket.getaddrinfo = refuse

        from mmdhp import compat
        compat.install()
        import mmcv
        version = mmcv.__version__

        from mmagic.utils import register_all_modules
        register_all_modules()
        from mmagic.registry import (
            DATASETS, HOOKS, LOOPS, METRICS, MODELS, TRANSFORMS)

        io = dict(in_channels=3, out_channels=3)
        networks = [
            dict(type='MSRResNet', mid_channels=8, num_blocks=2, **io),
            dict(type='EDSRNet', mid_channels=8, num_blocks=2, **io),
            dict(type='RDNNet', mid_channels=8, num_blocks=2, **io),
            dict(type='RRDBNet', mid_channels=8, num_blocks=1, **io),
        ]
        editor = MODELS.build(dict(
            type='BaseEditModel', generator=networks[0],
            pixel_loss=dict(type='L1Loss'),
            data_preprocessor=dict(type='DataPreprocessor')))
        built = [type(MODELS.build(dict(cfg))).__name__ for cfg in networks]
        METRICS.build(dict(type='PSNR'))
        METRICS.build(dict(type='SSIM'))
        TRANSFORMS.build(dict(type='LoadImageFromFile', key='gt'))
        found = [
            DATASETS.get('BasicImageDataset'), LOOPS.get('MultiValLoop'),
            HOOKS.get('IterTimerHook')]
        print(json.dumps(dict(
            attempts=attempts,
            built=built,
            editor=type(editor.generator).__name__,
            found=[item.__name__ for item in found],
            restored=mmcv.__version__ == version,
            unavailable=list(compat.unavailable_editors()),
        )))
    """)
    unavailable = answer.pop('unavailable')
    works = {'srgan', 'edsr', 'rdn', 'esrgan', 'nafnet', 'edvr', 'tdan'}
    assert not works & set(unavailable)
    assert answer == {
        'attempts': [],
        'built': ['MSRResNet', 'EDSRNet', 'RDNNet', 'RRDBNet'],
        'editor': 'MSRResNet',
        'found': ['BasicImageDataset', 'MultiValLoop', 'IterTimerHook'],
        'restored': True,
    }


def test_a_copy_in_an_exported_model_does_not_install_a_second_hook():
    compat.install()
    spec = importlib.util.spec_from_file_location(
        'copied', import_hook.__file__
    )
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    before = list(sys.meta_path)
    copy.install_executors(hook.EXECUTORS)
    assert sys.meta_path == before
    # Both in place, as when the copy came first: no endless recursion.
    sys.meta_path.insert(0, copy.ExecutorFinder(hook.EXECUTORS))
    try:
        assert sys.meta_path[0].find_spec('mmagic.absent') is None
        import_hook.ExecutorFinder(hook.EXECUTORS).find_spec('mmagic')
    finally:
        sys.meta_path[:] = before
