"""The page itself: one HTML file that needs nothing else."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from .style import PAGE, css_variables


@dataclass
class Section:
    """A part of the page.

    Attributes:
        title (str): Its heading.
        body (str): HTML.
    """

    title: str
    body: str


def document(
    title: str, lead: str, head: Sequence[str], sections: Sequence[Section]
) -> str:
    """The whole page.

    Args:
        title (str): Of the run.
        lead (str): One sentence about it.
        head (Sequence[str]): HTML in front of the sections.
        sections (Sequence[Section]): In their order.
    """
    parts = [
        '<!DOCTYPE html>',
        '<html lang="en">',
        '<head>',
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f'<title>{escape(title)} · mmdhp</title>',
        f'<style>\n{css_variables()}{PAGE}</style>',
        '</head>',
        '<body>',
        '<header>',
        f'<h1>{escape(title)}</h1>',
        f'<p class="lead">{escape(lead)}</p>',
        '</header>',
        '<main>',
        *head,
    ]
    for section in sections:
        parts += [
            '<section>',
            f'<h2>{escape(section.title)}</h2>',
            section.body,
            '</section>',
        ]
    return '\n'.join([*parts, '</main>', '</body>', '</html>', ''])


def tiles(entries: Sequence[tuple[str, str, str]]) -> str:
    """The few figures that matter most: name, value and what it means."""
    items = ''.join(
        f'<li><span>{escape(name)}</span><b>{escape(value)}</b>'
        f'<span>{escape(text)}</span></li>'
        for name, value, text in entries
    )
    return f'<ul class="tiles">{items}</ul>' if items else ''


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = '',
) -> str:
    """A table whose first column names its rows; numbers stand right.

    Args:
        header (Sequence[str]): Of the columns.
        rows (Sequence[Sequence[str]]): Cells as text.
        caption (str): Above it. Defaults to none.
    """
    kinds = [
        ' class="n"' if all(map(_is_number, column)) else ''
        for column in zip(*rows)
    ]
    cells = ''.join(
        f'<th scope="col"{kind}>{escape(text)}</th>'
        for text, kind in zip(header, kinds)
    )
    body = ''.join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + ''.join(
            f'<td{kind}>{escape(cell)}</td>'
            for cell, kind in zip(row[1:], kinds[1:])
        )
        + '</tr>'
        for row in rows
    )
    title = f'<caption>{escape(caption)}</caption>' if caption else ''
    return (
        f'<div class="scroll"><table>{title}<thead><tr>{cells}</tr></thead>'
        f'<tbody>{body}</tbody></table></div>'
    )


def _is_number(cell: str) -> bool:
    """Whether a cell is an amount, as ``'40.81 M'``, or stands for none.

    Examples:
        >>> [_is_number(cell) for cell in ('40.81 M', '–', '0.1.0', 'fc')]
        [True, True, False, False]
    """
    return re.fullmatch(r'–|-?\d+(\.\d+)?( ?[kMG%])?', cell) is not None


def note(text: str) -> str:
    """A remark below a figure or a table."""
    return f'<p class="note">{escape(text)}</p>'


def missing(reasons: Sequence[str]) -> str:
    """What the page lacks, and why."""
    if not reasons:
        return ''
    items = ''.join(f'<li>{escape(reason)}</li>' for reason in reasons)
    return (
        '<aside class="missing"><p>Not on this page:</p>'
        f'<ul>{items}</ul></aside>'
    )


def details(summary: str, text: str) -> str:
    """Long text that opens on a click."""
    return (
        f'<details><summary>{escape(summary)}</summary>'
        f'<pre tabindex="0">{escape(text)}</pre></details>'
    )


def image(pixels: np.ndarray, alt: str, caption: str) -> str:
    """A figure that holds an image, inside the page.

    Args:
        pixels (np.ndarray): ``(H, W)`` or ``(H, W, 3)``, 8 bits.
        alt (str): For who cannot see it.
        caption (str): Below it; lines are kept.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format='PNG', optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode('ascii')
    height, width = pixels.shape[:2]
    text = '<br>'.join(escape(line) for line in caption.splitlines())
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{width}" '
        f'height="{height}" alt="{escape(alt)}">'
        f'<figcaption>{text}</figcaption></figure>'
    )
