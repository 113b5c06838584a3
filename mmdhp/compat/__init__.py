"""Keeps MMagic importable beside current releases of its dependencies."""

from .mmagic import import_mmagic, install, unavailable_editors

__all__ = ['import_mmagic', 'install', 'unavailable_editors']
