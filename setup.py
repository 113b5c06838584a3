import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ('configs', 'tools', 'model-index.yml')  # what mim looks for


class BuildWithMim(build_py):
    """Puts configs and tools into the package, as ``mmdhp/.mim``.

    There `mim`, `mmdhp::` in a config and `mmdhp train` find them. They go
    to the build folder only: the source tree gets no copies and no links.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'mmdhp' / '.mim'
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        target.mkdir(parents=True)
        for name in SHIPPED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns('__pycache__', '*.pyc')
                shutil.copytree(ROOT / name, target / name, ignore=ignored)
            else:
                shutil.copy2(ROOT / name, target / name)


def read_version() -> str:
    namespace: dict[str, str] = {}
    exec((ROOT / 'mmdhp' / 'version.py').read_text(), namespace)
    return namespace['__version__']


def read_requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


# MMEngine, mmcv and MMPretrain exist as the originals (mmengine, ...) and as
# their maintained continuations (onedl-mmengine, ...), which install the same
# import packages over each other. A requirement cannot say "either", so none
# is made: `pip install mmdhp` leaves an existing OpenMMLab installation as it
# is, and the extras are for those who start without one.
setup(
    name='mmdhp',
    version=read_version(),
    description='Automatic channel pruning for OpenMMLab models',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='channel pruning, model compression, OpenMMLab, PyTorch',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mmdhp', 'mmdhp.*']),
    package_data={'mmdhp': ['*/*.csv', '*/*.html', '*/*.css', '*/*.js']},
    cmdclass={'build_py': BuildWithMim},
    entry_points={'console_scripts': ['mmdhp = mmdhp.cli:main']},
    python_requires='>=3.9',
    install_requires=read_requirements('runtime'),
    extras_require={
        'mmpretrain': read_requirements('mmpretrain'),
        'mmagic': read_requirements('mmagic'),
        'mmdet': read_requirements('mmdet'),
        'export': read_requirements('export'),
        'tests': read_requirements('tests'),
    },
)
