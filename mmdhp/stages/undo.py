"""A transition that fails leaves the run as it was."""

import contextlib
from collections.abc import Iterator
from typing import Any

from mmengine.runner import Runner

from mmdhp.graph.restoring import restored_on_error

from .runner_facts import loop_length, set_loop_length, unwrapped


@contextlib.contextmanager
def undone_on_error(runner: Runner, hook: Any) -> Iterator[None]:
    """Put a Runner, its model and the hook's state back if something fails.

    DDP around the model is not: it is not kept, since its gradient hooks
    would outlive the cut, and wrapping anew waits for all processes, of which
    one may have failed.

    Args:
        runner (Runner): In search; its model is without gates.
        hook (PruningHook): It knows the state of the run.
    """
    parts = ('optim_wrapper', 'param_schedulers')
    saved: dict[str, Any] = {part: getattr(runner, part) for part in parts}
    saved['model'] = unwrapped(runner)
    state = {key: getattr(hook, key) for key in ('keep', 'state', 'start')}
    length = loop_length(runner)
    loop = {
        key: getattr(runner.train_loop, key)
        for key in ('dataloader', 'dataloader_iterator')
        if hasattr(runner.train_loop, key)
    }
    try:
        # A method may draw anew what is not cut, in place.
        with restored_on_error(unwrapped(runner), values=True):
            yield
    except BaseException:
        for part, value in saved.items():
            setattr(runner, part, value)
        for key, value in state.items():
            setattr(hook, key, value)
        for key, value in loop.items():
            setattr(runner.train_loop, key, value)
        set_loop_length(runner, length)
        raise
