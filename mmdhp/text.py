"""Tables and large numbers as text."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Align columns: the first to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rule = '  '.join('-' * w for w in widths)

    def draw(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(w) for cell, w in zip(line[1:], widths[1:])]
        return '  '.join(cells)

    return '\n'.join([draw(lines[0]), rule, *map(draw, lines[1:])])


def amount(count: float) -> str:
    """A large number with four digits and a unit.

    Examples:
        >>> amount(32826720256), amount(240974)
        ('32.83 G', '241.0 k')
    """
    for factor, unit in ((1e9, ' G'), (1e6, ' M'), (1e3, ' k')):
        if count >= factor:
            return f'{count / factor:#.4g}{unit}'
    return f'{count:.0f}'
