"""Weight programs: they write weights and read gradients of a model."""

from .hypernetwork import GeneratedWeight, HyperNetwork, generated_weights

__all__ = ['GeneratedWeight', 'HyperNetwork', 'generated_weights']
