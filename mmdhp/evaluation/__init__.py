"""Metrics that upstream lacks."""

from .sot_metric import SOTMetric

__all__ = ['SOTMetric']
