from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


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
