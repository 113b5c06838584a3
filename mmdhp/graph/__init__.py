"""Channel graph: tracing, units and groups, cost."""

from .builder import trace
from .channel_graph import ChannelGraph, ChannelGroup, FrozenGroup, Member
from .cost import Activity, CallRecord, ProductCost, Slot, TensorRecord
from .errors import GraphError
from .rules import RULES
from .tracing.execution import Forward, Inputs, call_model, record_calls

__all__ = [
    'RULES',
    'Activity',
    'CallRecord',
    'ChannelGraph',
    'ChannelGroup',
    'FrozenGroup',
    'Forward',
    'GraphError',
    'Inputs',
    'Member',
    'ProductCost',
    'Slot',
    'TensorRecord',
    'call_model',
    'record_calls',
    'trace',
]
