"""What a run adds to its ordinary checkpoints, under one key."""
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdhp.graph import ChannelGraph

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


def check_groups(record: dict, graph: ChannelGraph) -> Tensor:
    """The recorded keep mask, if it belongs to this architecture.

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
    return record['keep']


def rng_state() -> dict[str, Any]:
    """State of Python's, NumPy's and PyTorch's global generators."""
    kind, keys, *rest = np.random.get_state()
    return {
        'python': random.getstate(),
        'numpy': (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
        'torch': torch.get_rng_state(),
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore :func:`rng_state`."""
    version, numbers, gauss = state['python']
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = state['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu().to(torch.uint8))
