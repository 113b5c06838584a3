"""Pictures and tables of runs: one page that a browser shows anywhere."""

from .runs import Run, read_run
from .writing import Options, write_report

__all__ = ['Options', 'Run', 'read_run', 'write_report']
