"""Channel graph: tracing, units and groups, cost."""
from .channel_graph import ChannelGraph, ChannelGroup, FrozenGroup, Member, trace
from .errors import GraphError
from .rules import RULES
from .tracer import Inputs, call_model

__all__ = [
    'ChannelGraph',
    'ChannelGroup',
    'FrozenGroup',
    'GraphError',
    'Inputs',
    'Member',
    'RULES',
    'call_model',
    'trace',
]
