"""Why channels keep their width: every reason code, and what helps."""

from typing import NamedTuple


class Explanation(NamedTuple):
    """What a reason code means.

    Args:
        meaning (str): What is the case.
        fix (str): What the user can do about it.
    """

    meaning: str
    fix: str


REASONS: dict[str, Explanation] = {
    'output': Explanation(
        'They are what the model returns: classes, colours, offsets.',
        'Nothing: their number is part of the task. For a backbone alone, '
        'trace the whole model instead.',
    ),
    'fixed-width': Explanation(
        "They meet as many values that are no channels: the model's input, "
        'a constant, or something else that keeps its width.',
        'Build the constant as a parameter or buffer of the model, or from '
        'a feature map (`torch.zeros_like(x)`).',
    ),
    'mixed': Explanation(
        'A norm, softmax or mean computes one number from all of them, so '
        'removing some would change the others.',
        'Use a norm per channel (batch norm, instance norm) where the width '
        'matters; the layers between two such norms can be pruned anyway.',
    ),
    'literal': Explanation(
        "The model's code asks for a size that would not follow a cut.",
        'Write -1, take the size from `x.shape`, or from an attribute of the '
        'module that holds nothing but this size.',
    ),
    'sliced': Explanation(
        "The model's code takes some of them at fixed positions.",
        'Use `chunk`, or take the positions from `x.shape` or from an '
        'attribute of the module.',
    ),
    'split': Explanation(
        'They are split into a fixed number of pieces, all of which need '
        'all of them.',
        'Let the pieces be as many as the consumer has groups, or exclude '
        'one of the modules that tie them.',
    ),
    'tied': Explanation(
        'Everything ties these channels into one, which must stay.',
        'See which modules share them (`mmdhp inspect --members`).',
    ),
    'single': Explanation(
        'There is one channel only.', 'Nothing: it must stay.'
    ),
    'inside-group': Explanation(
        'They are the inputs of one group of a grouped convolution, which is '
        'pruned by whole groups.',
        'Nothing: the groups are pruned instead.',
    ),
    'fixed-groups': Explanation(
        'A function is called with a number of groups that no layer holds.',
        'Use a module (`nn.Conv2d`, `nn.GroupNorm`) instead of the function.',
    ),
    'indexed': Explanation(
        'They are looked up by number, as the rows of an embedding are.',
        'Nothing, unless the indices can be replaced by slices.',
    ),
    'spatial': Explanation(
        'An operator takes them for positions in space.',
        'Move channels to axis 1 in front of it.',
    ),
    'joined': Explanation(
        'They are joined with pieces that carry channels along other axes.',
        'Bring the pieces into the same layout before `cat` or `stack`.',
    ),
    'unknown-operator': Explanation(
        'An operator that mmdhp has no rule for reads them.',
        'Declare what belongs together around it (`groups`), or add a rule '
        'to mmdhp/graph/rules/: one line.',
    ),
    'bypass': Explanation(
        'Something computes outside PyTorch (a compiled extension, NumPy), '
        'so what it does to channels is unseen.',
        'Declare what belongs together around it (`groups`); `verify` tells '
        'whether that was right.',
    ),
    'no-producer': Explanation(
        'No layer that was traced makes them.',
        'Declare what belongs together (`groups`), if they should go.',
    ),
    'not-saved': Explanation(
        'A buffer that checkpoints do not hold has one entry per channel, so '
        'a checkpoint could not tell its width.',
        'Register the buffer with `persistent=True`.',
    ),
    'excluded': Explanation(
        'The option `exclude` names them.', 'Remove the pattern.'
    ),
}
