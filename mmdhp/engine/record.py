"""What a run adds to its ordinary checkpoints, under one key."""

from typing import Any

from mmdhp.graph import ChannelGraph
from mmdhp.methods import Pruner

KEY = 'mmdhp'
FORMAT_VERSION = 1
STATES = ('search', 'fine_tune')


def read_record(checkpoint: dict) -> dict[str, Any]:
    """The run's record in a checkpoint.

    Raises:
        KeyError: If the checkpoint was not written by a pruning run.
        ValueError: If its format is newer, or the record is damaged.
    """
    if KEY not in checkpoint:
        raise KeyError(
            'The checkpoint was not written by a pruning run (it has no '
            f'{KEY!r} entry), so there is no search to resume. Start from its '
            'weights with `load_from`, without --resume.'
        )
    record = checkpoint[KEY]
    if not isinstance(record, dict) or record.get('state') not in STATES:
        raise ValueError(
            f'The {KEY!r} entry of the checkpoint is damaged: its state is '
            f'none of {STATES}. Resume from an earlier checkpoint.'
        )
    if record.get('format_version', 0) > FORMAT_VERSION:
        raise ValueError(
            f'The checkpoint has format {record["format_version"]}, but this '
            f'mmdhp reads up to {FORMAT_VERSION}. Update mmdhp.'
        )
    return record


def make_record(pruner: Pruner, state: str) -> dict[str, Any]:
    """The part of a record that every state has."""
    return {
        'format_version': FORMAT_VERSION,
        'state': state,
        'method': pruner.name,
        'groups': [(g.name, g.size) for g in pruner.graph.groups],
    }


def check_groups(record: dict, graph: ChannelGraph) -> None:
    """Check that a record belongs to this architecture.

    Raises:
        ValueError: If the groups differ.
    """
    recorded = [tuple(group) for group in record['groups']]
    own = [(group.name, group.size) for group in graph.groups]
    if recorded != own:
        differ = [r for r in recorded if r not in own][:3]
        raise ValueError(
            'The checkpoint belongs to another architecture: it has '
            f'{len(recorded)} channel groups, this model {len(own)}; not '
            f'found here: {differ}. Resume with the config that started the '
            'run.'
        )
