"""What a config may say about the search, and how long it makes it."""

from typing import Any

from mmengine.runner import Runner

from mmdhp.methods.options import check_dict, check_int, unknown_keys

from .runner_facts import by_epoch, unit

SEARCH_KEYS = (
    'max_epochs',
    'max_iters',
    'param_scheduler',
    'samples',
    'dataloader',
)


def check_search(search: Any) -> dict:
    """Refuse keys and values of a search that cannot work.

    Args:
        search (Any): The hook's argument, a dict or None.

    Returns:
        dict: A copy.

    Raises:
        TypeError: If it is no dict, has an unknown key, or a value is of the
            wrong type.
        ValueError: If a number is out of range, or two keys contradict.
    """
    if search is None:
        return {}
    subject = 'PruningHook: search'
    check_dict(subject, search, 'dict(max_epochs=5)')
    problem = unknown_keys(subject, search, SEARCH_KEYS)
    if problem:
        raise TypeError(problem)
    for key in ('max_epochs', 'max_iters', 'samples'):
        if key in search and (key != 'samples' or search[key] is not None):
            check_int(f'{subject} {key}', search[key], 1)
    if {'max_epochs', 'max_iters'} <= search.keys():
        raise ValueError(
            f'{subject} has max_epochs={search["max_epochs"]} and max_iters='
            f'{search["max_iters"]}; give the one that the train loop counts.'
        )
    if search.get('dataloader') is not None:
        example = 'dict(batch_size=32)'
        check_dict(f'{subject} dataloader', search['dataloader'], example)
    schedulers = search.get('param_scheduler') or []
    if not isinstance(schedulers, (list, tuple)):
        schedulers = [schedulers]
    for scheduler in schedulers:
        example = "dict(type='CosineAnnealingLR', by_epoch=True)"
        check_dict(f'{subject} param_scheduler', scheduler, example)
        if not scheduler.get('type'):
            raise KeyError(
                f'{subject} param_scheduler is {dict(scheduler)}, without a '
                f'`type`; give one, as in {example}.'
            )
    return dict(search)


def search_length(
    runner: Runner, search: dict, fine_tune: int, fraction: float
) -> int:
    """Length of the search, in the loop's own unit.

    Args:
        runner (Runner): The runner.
        search (dict): With ``max_epochs`` or ``max_iters``, or neither.
        fine_tune (int): Length of the fine-tuning.
        fraction (float): Of it, the search's length by default. With 0 there
            is no search.

    Raises:
        ValueError: If it is given in the other unit, or to a method without
            a search.
    """
    right, wrong = 'max_epochs', 'max_iters'
    if not by_epoch(runner):
        right, wrong = wrong, right
    if not fraction:
        if search:
            raise ValueError(
                f'PruningHook: search is {search}, but the method selects '
                'without a search. Remove it.'
            )
        return 0
    if wrong in search:
        raise ValueError(
            f'PruningHook: search has {wrong}={search[wrong]!r}, but '
            f'{type(runner.train_loop).__name__} counts {unit(runner)}; give '
            f'search=dict({right}=...).'
        )
    return search.get(right, max(int(fine_tune * fraction), 1))
