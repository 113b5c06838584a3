"""Pictures and tables of runs: one page that a browser shows anywhere."""

from .runs import Run, read_run

__all__ = ['Run', 'read_run']
