"""``compile=`` of a config, while the model under it changes."""

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner


def step_eagerly(runner: Runner, wrapper: OptimWrapper) -> None:
    """Keep the search's optimizer step out of compiled code, in place.

    MMEngine compiles ``train_step``, to which the step belongs. Forward and
    backward are worth compiling; what a pruner does around the step is a few
    large operations, between which it reads single numbers. Compiled, each
    new number would be compiled for again.

    Args:
        runner (Runner): Its config says whether anything is compiled.
        wrapper (OptimWrapper): Of the search stage.
    """
    if runner.cfg.get('compile'):
        step = torch.compiler.disable(wrapper.step)
        wrapper.__dict__['step'] = step


def compile_again(runner: Runner) -> None:
    """Compile the training step of a model that was wrapped anew, in place.

    The compiled function is an attribute of what the Runner trains: the model
    itself, or DDP around it, which the search and the cut replace.
    """
    if 'train_step' not in vars(runner.model):
        runner._maybe_compile('train_step')
