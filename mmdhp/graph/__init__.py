"""Channel graph: tracing, units and groups, cost."""

from .builder import trace
from .channel_graph import ChannelGraph, ChannelGroup, FrozenGroup, Member
from .errors import GraphError
from .execution import Inputs, call_model
from .rules import RULES

__all__ = [
    'RULES',
    'ChannelGraph',
    'ChannelGroup',
    'FrozenGroup',
    'GraphError',
    'Inputs',
    'Member',
    'call_model',
    'trace',
]
