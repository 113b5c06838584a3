"""What networks cost: closed forms, and tables of measurements."""

from .agreement import from_first
from .base import Cost, MACs, Params
from .latency import Latency, Plan, narrow
from .memory import Memory, PeakMemory, peak_memory
from .meter import Meter
from .options import LatencyOptions

__all__ = [
    'Cost',
    'Latency',
    'LatencyOptions',
    'MACs',
    'Memory',
    'Meter',
    'Params',
    'PeakMemory',
    'Plan',
    'from_first',
    'narrow',
    'peak_memory',
]
