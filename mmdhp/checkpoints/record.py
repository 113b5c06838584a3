"""What a run adds to its ordinary checkpoints, under one key."""

from typing import Any

from mmdhp.graph import ChannelGraph
from mmdhp.methods import Pruner

KEY = 'mmdhp'
FORMAT_VERSION = 1
OLDEST_VERSION = 1  # that is still read
# What a record holds in every state.
CONTENT = {
    'search': ('method', 'groups', 'rng', 'search', 'due'),
    'fine_tune': ('method', 'groups', 'rng', 'keep', 'start'),
}
STATES = tuple(CONTENT)


def read_record(checkpoint: dict) -> dict[str, Any]:
    """The run's record in a checkpoint.

    Raises:
        KeyError: If the checkpoint was not written by a pruning run.
        ValueError: If its format is newer or too old, or the record is
            damaged.
    """
    if KEY not in checkpoint:
        raise KeyError(
            'The checkpoint was not written by a pruning run (it has no '
            f'{KEY!r} entry), so there is no search to resume. Start from its '
            'weights with `load_from`, without --resume.'
        )
    record = checkpoint[KEY]
    if isinstance(record, dict):
        _check_version(record.get('format_version', 0))
    problem = _damage(record)
    if problem:
        raise ValueError(
            f'The {KEY!r} entry of the checkpoint is damaged: {problem}. '
            'Resume from an earlier checkpoint.'
        )
    return record


def _check_version(version: Any) -> None:
    number = isinstance(version, int) and version is not True
    if number and version > FORMAT_VERSION:
        raise ValueError(
            f'The checkpoint has format {version}, but this mmdhp reads up to '
            f'{FORMAT_VERSION}. Update mmdhp.'
        )
    if number and version < OLDEST_VERSION:
        raise ValueError(
            f'The checkpoint has format {version}, of an older mmdhp; this '
            f'one reads {OLDEST_VERSION} to {FORMAT_VERSION}. Resume with the '
            'mmdhp that wrote it, or start from its weights with `load_from`, '
            'without --resume.'
        )


def _damage(record: Any) -> str:
    """What is wrong with a record; empty if nothing is."""
    if not isinstance(record, dict):
        return f'it is a {type(record).__name__}, not a dict'
    version, state = record.get('format_version'), record.get('state')
    if not isinstance(version, int):
        return f'its format is {version!r}, not a number'
    if state not in STATES:
        return f'its state is {state!r}, none of {STATES}'
    missing = [key for key in CONTENT[state] if key not in record]
    return f'it lacks {", ".join(missing)}' if missing else ''


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
