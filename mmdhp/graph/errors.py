"""The one exception of the channel graph."""


class GraphError(ValueError):
    """A model cannot be analysed or a prune request does not fit it.

    The message names the module and the operator, what was found, what was
    expected and what to do.
    """
