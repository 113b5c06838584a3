"""The error of this package."""


class ExportError(RuntimeError):
    """A model cannot be written for use without ``mmdhp``; tells why."""


def first_lines(error: BaseException, count: int = 4) -> str:
    """What went wrong, without the pages that exporters write below.

    Args:
        error (BaseException): Of whatever kind.
        count (int): Lines at most. Defaults to 4.

    Examples:
        >>> first_lines(ValueError('no such axis'))
        'ValueError: no such axis'
    """
    lines = [line.strip() for line in str(error).splitlines()]
    text = '\n  '.join([line for line in lines if line][:count])
    return f'{type(error).__name__}: {text}'
