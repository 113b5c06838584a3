"""Rows of the coverage table, their summary, and the files that hold them."""

import collections
import json
import math
import os
import os.path as osp
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from mmdhp.text import table

Row = Mapping[str, Any]

BEGIN = '<!-- zoo_coverage: begin -->'
END = '<!-- zoo_coverage: end -->'
HEADER = [
    'model',
    'arch',
    'input',
    'traced',
    'difference',
    'MACs equal',
    'prunable',
    'MACs left',
    'seconds',
    'groups',
    'frozen groups by reason',
]


# ---------------------------------------------------------------------- texts
def cells(row: Row) -> list[str]:
    """One row of the table."""
    return [
        row['model'],
        row['arch'] or '-',
        ' '.join('x'.join(map(str, s[1:])) or 'n' for s in row['input'])
        if row.get('input')
        else '-',
        'yes' if row.get('traced') else row['status'],
        difference(row),
        equal(row),
        _number(row, 'prunable_share', '.0%'),
        _number(row, 'macs_left', '.0%'),
        _number(row, 'seconds', '.2f'),
        _number(row, 'groups', 'd'),
        reasons(row),
    ]


def difference(row: Row) -> str:
    """How masked and shrunk outputs compare; a star for float64."""
    if 'difference' not in row:
        return row['status'] if row.get('traced') else '-'
    text = _number(row, 'difference', '.0e', missing='infinite')
    if row['status'] != 'verified':
        return f'WRONG {text}'
    return f'{text}*' if row.get('precision') == 'float64' else text


def equal(row: Row) -> str:
    """Whether the counted MACs are the predicted ones."""
    if 'macs_counted' not in row:
        return '-'
    counted, predicted = row['macs_counted'], row['macs_predicted']
    if counted == predicted:
        return 'yes'
    return f'{counted / max(predicted, 1):.4g} times'


def reasons(row: Row) -> str:
    """Frozen groups by reason code, or what went wrong."""
    if 'frozen' not in row:
        return row.get('problem', '-')
    counts = [f'{code} {f["groups"]}' for code, f in row['frozen'].items()]
    if row['status'] != 'verified' and row.get('problem'):
        counts.insert(0, row['problem'])
    return ', '.join(counts) or '-'


def _number(row: Row, key: str, spec: str, missing: str = '-') -> str:
    value = row.get(key)
    return missing if value is None else format(value, spec)


def line(row: Row) -> str:
    """One sentence about a row, for the progress report."""
    name = f'{row["model"]} {row["arch"]}'.strip()
    if row['status'] in ('failed', 'skipped'):
        return f'{row["status"]} {name}: {row["problem"]}'
    return (
        f'{row["status"]} {name}: difference {difference(row)}, traced in '
        f'{row["seconds"]:.2f} s, {row["prunable_share"]:.0%} of the MACs '
        'prunable'
    )


# -------------------------------------------------------------------- summary
def summary(library: str, rows: Sequence[Row]) -> str:
    """Numbers of a library, in words."""
    traced = [row for row in rows if row.get('traced')]
    text = f'{library}: {len(rows)} architectures'
    for status in ('skipped', 'failed'):
        number = sum(row['status'] == status for row in rows)
        text += f', {number} {status}' if number else ''
    text += f', {len(traced)} traced'
    if not traced:
        return f'{text}.'
    verified = sum(row['status'] == 'verified' for row in traced)
    same = sum(equal(row) == 'yes' for row in traced)
    seconds = [row['seconds'] for row in traced]
    share = statistics.median(row['prunable_share'] for row in traced)
    return (
        f'{text}, {verified} verified, MACs equal in {same}. Seconds of a '
        f'trace: median {statistics.median(seconds):.2f}, at most '
        f'{max(seconds):.2f}. Prunable share of the MACs: median '
        f'{share:.0%}.'
    )


def problems(rows: Sequence[Row]) -> list[Row]:
    """Rows that were traced, but not verified."""
    return [r for r in rows if r.get('traced') and r['status'] != 'verified']


# ---------------------------------------------------------------------- files
class Record:
    """Everything that was found, in a file that is whole at any time.

    Args:
        path (str, optional): JSON file; None keeps nothing.
        about (Mapping): Versions and options of the run.
    """

    def __init__(self, path: Optional[str], about: Mapping[str, Any]) -> None:
        self.path = path
        self.about = dict(about)
        self.rows: list[dict[str, Any]] = []
        self.unavailable: dict[str, str] = {}

    def resume(self) -> None:
        """Take over the rows of an earlier run, failed ones excepted.

        Raises:
            SystemExit: If that run had other options or versions.
        """
        if self.path is None or not osp.isfile(self.path):
            return
        with open(self.path, encoding='utf-8') as file:
            earlier = json.load(file)
        if earlier['about'] != json.loads(json.dumps(self.about)):
            raise SystemExit(
                f'error: {self.path} is of a run with {earlier["about"]}, '
                f'this one has {self.about}. Give another --json, or leave '
                '--resume out.'
            )
        self.rows = [r for r in earlier['rows'] if r['status'] != 'failed']

    def find(self, library: str, model: str, arch: str) -> Optional[Row]:
        """The row of an architecture, if there is one."""
        names = ('library', 'model', 'arch')
        for row in self.rows:
            if tuple(row[n] for n in names) == (library, model, arch):
                return row
        return None

    def of(self, library: str) -> list[Row]:
        """Rows of a library."""
        return [row for row in self.rows if row['library'] == library]

    def add(self, row: dict[str, Any]) -> None:
        """Append a row and write the file."""
        self.rows.append(row)
        self.write()

    def write(self) -> None:
        """Write the file in one step."""
        if self.path is None:
            return
        content = dict(
            about=self.about, unavailable=self.unavailable, rows=self.rows
        )
        text = json.dumps(_plain(content), indent=1, allow_nan=False)
        replace(self.path, text + '\n')


def _plain(value: Any) -> Any:
    """JSON has no infinity."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(_plain, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def replace(path: str, text: str) -> None:
    """Write a file that is either the old or the new one."""
    folder = osp.dirname(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    draft = f'{path}.{os.getpid()}.tmp'
    with open(draft, 'w', encoding='utf-8') as file:
        file.write(text)
    os.replace(draft, path)


# --------------------------------------------------------------------- tables
def text_table(rows: Sequence[Row]) -> str:
    """The rows for a terminal."""
    shown = [cells(row) for row in rows]
    shown = [[*row[:-1], _cut(row[-1], 60)] for row in shown]
    return table(shown, HEADER)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f'{text[: length - 3]}...'


def markdown(record: Record) -> str:
    """Summary and tables for the documentation."""
    about = record.about
    versions = ', '.join(f'{k} {v}' for k, v in about['versions'].items())
    options = about['options']
    parts = [
        f'{versions}. Kept: {options["ratio"]:.0%} of the units, at random '
        f'(seed {options["seed"]}). Not built: more than '
        f'{options["max_params"] / 1e6:.0f} M parameters.'
    ]
    libraries = dict.fromkeys(row['library'] for row in record.rows)
    parts.append(_markdown_summary(record, list(libraries)))
    for library in libraries:
        parts.append(f'### {library}')
        rows = record.of(library)
        parts.append(_markdown_table(HEADER, [cells(row) for row in rows]))
    return '\n\n'.join(parts)


def _markdown_summary(record: Record, libraries: Sequence[str]) -> str:
    lines = [f'- {summary(name, record.of(name))}' for name in libraries]
    lines += [
        f'- {name}: unavailable: {reason}'
        for name, reason in record.unavailable.items()
    ]
    codes: collections.Counter[str] = collections.Counter()
    for row in record.rows:
        codes.update(list(row.get('frozen', {})))
    counted = ', '.join(f'{code} {n}' for code, n in codes.most_common())
    lines.append(f'- Architectures with a frozen group, by reason: {counted}.')
    return '\n'.join(lines)


def _markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    lines = [header, ['---'] * len(header), *rows]
    escaped = [[_cut(c, 120).replace('|', '\\|') for c in r] for r in lines]
    return '\n'.join(f'| {" | ".join(line)} |' for line in escaped)


def paste(path: str, content: str) -> None:
    """Put text between the markers of a file, or make a file of it.

    Raises:
        SystemExit: If the file exists but has no markers.
    """
    region = f'{BEGIN}\n\n{content}\n\n{END}'
    if not osp.exists(path):
        replace(path, f'{region}\n')
        return
    with open(path, encoding='utf-8') as file:
        page = file.read()
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(
            f'error: {path} has no region between {BEGIN} and {END}, so '
            'there is no place for the tables.'
        )
    replace(path, f'{head}{region}{tail}')
