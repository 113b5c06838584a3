"""The online part of DiMP: what happens in every frame of a video."""

from .online_dimp import OnlineDiMP

__all__ = ['OnlineDiMP']
