"""Colours and sizes of the page and its figures, by day and by night.

Figures are drawn in the colours of the light theme. In the page, where they
are SVG, every colour becomes a CSS variable, so that they follow the theme.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import rc_context
from matplotlib.figure import Figure

# Name -> colour in the light and in the dark theme.
COLOURS = {
    'page': ('#fdfdfc', '#12161c'),
    'card': ('#f4f5f3', '#1a2028'),
    'text': ('#1d242c', '#e5e9ee'),
    'muted': ('#5b6570', '#9ba6b2'),
    'line': ('#d8dcd9', '#303944'),
    'bar': ('#e3e6e4', '#2a323c'),
    'kept': ('#2166ac', '#6fa8dc'),
    'gone': ('#c8553d', '#e58a74'),
    'other': ('#4d7c3a', '#8fbf7a'),
}
LIGHT = {name: pair[0] for name, pair in COLOURS.items()}

WIDE, NARROW = 7.6, 3.7  # inches; a phone shows the narrow drawing
POINTS = 9
DPI = 150

_SETTINGS = {
    'font.family': 'sans-serif',
    'font.sans-serif': ['DejaVu Sans'],
    'font.size': POINTS,
    'text.color': LIGHT['text'],
    'axes.labelcolor': LIGHT['muted'],
    'axes.edgecolor': LIGHT['line'],
    'axes.facecolor': 'none',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.spines.left': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'axes.titlesize': POINTS + 1,
    'axes.titlelocation': 'left',
    'axes.titlecolor': LIGHT['text'],
    'grid.color': LIGHT['line'],
    'grid.linewidth': 0.6,
    'xtick.color': LIGHT['line'],
    'ytick.color': LIGHT['line'],
    'xtick.labelcolor': LIGHT['muted'],
    'ytick.labelcolor': LIGHT['muted'],
    'ytick.major.size': 0,
    'lines.linewidth': 1.6,
    'legend.frameon': False,
    'legend.labelcolor': LIGHT['text'],
    'figure.facecolor': LIGHT['page'],
    'figure.constrained_layout.use': True,
    'svg.fonttype': 'none',
    'svg.hashsalt': 'mmdhp',
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the report."""
    with rc_context(_SETTINGS):  # type: ignore[arg-type]
        yield


def css_variables() -> str:
    """Both themes, as CSS."""
    light, dark = (
        ' '.join(f'--{name}: {pair[i]};' for name, pair in COLOURS.items())
        for i in (0, 1)
    )
    return (
        f':root {{ color-scheme: light dark; {light} }}\n'
        '@media (prefers-color-scheme: dark) {\n'
        f'  :root {{ {dark} }}\n}}\n'
    )


def svg_of(figure: Figure, name: str, label: str) -> str:
    """A figure as an SVG element that follows the theme of its page.

    Args:
        figure (Figure): Drawn in :func:`figure_style`.
        name (str): Unlike that of any other element of the page.
        label (str): What a screen reader says.
    """
    buffer = io.StringIO()
    figure.savefig(
        buffer, format='svg', transparent=True, metadata={'Date': None}
    )
    text = buffer.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<metadata>.*?</metadata>\s*', '', text, flags=re.S)
    head, _, body = text.partition('>')
    box = re.search(r'viewBox="[^"]+"', head)
    assert box is not None
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'"#(?=\w)', f'"#{name}-', body)
    body = body.replace('url(#', f'url(#{name}-')
    for key, colour in LIGHT.items():
        body = body.replace(colour, f'var(--{key})')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" {box.group()} '
        f'role="img" aria-label="{label}">{body}'
    )


def save_png(figure: Figure, path: str) -> None:
    """Write a figure in the light theme."""
    figure.savefig(path, dpi=DPI)


PAGE = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 52rem;
  background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 {
  font-size: 1.15rem; margin: 2.8rem 0 .6rem; padding-top: 1rem;
  border-top: 1px solid var(--line);
}
h1, h2, td, tbody th, p, li, figcaption { overflow-wrap: anywhere; }
p { margin: .4rem 0; }
.lead, .note, figcaption, caption { color: var(--muted); }
.note, figcaption, caption { font-size: .88rem; }
caption { text-align: left; padding-bottom: .4rem; }
.tiles {
  display: grid; gap: .7rem; margin: 1.4rem 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
}
.tiles li { background: var(--card); border-radius: .5rem; padding: .8rem; }
.tiles b { display: block; font-size: 1.5rem; line-height: 1.25; }
.tiles span { display: block; font-size: .85rem; color: var(--muted); }
.missing {
  border-left: 3px solid var(--gone); margin: 1.4rem 0; padding: .1rem .9rem;
}
.missing ul { margin: .3rem 0; padding-left: 1.1rem; font-size: .92rem; }
figure { margin: .8rem 0; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
.narrow { display: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td {
  text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0;
  border-bottom: 1px solid var(--line);
}
thead th { color: var(--muted); font-weight: 500; font-size: .85rem; }
tbody th { font-weight: 500; min-width: 5.5rem; }
td.n, th.n {
  text-align: right; padding-right: 0; padding-left: .8rem;
  font-variant-numeric: tabular-nums; white-space: nowrap;
}
td.n:not(:last-child), th.n:not(:last-child) { padding-right: .8rem; }
.panels {
  display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
}
.panels figure { margin: 0; }
.panels img {
  display: block; width: 100%; height: auto; image-rendering: pixelated;
  border-radius: .3rem;
}
details { margin: .8rem 0; }
summary { cursor: pointer; }
pre {
  overflow-x: auto; background: var(--card); border-radius: .5rem;
  padding: .9rem; font-size: .8rem; line-height: 1.45;
}
@media (max-width: 34rem) {
  .wide { display: none; }
  .narrow { display: block; }
  table { font-size: .85rem; }
  td.n, th.n { padding-left: .4rem; }
}
@media print { details > pre { white-space: pre-wrap; } }
"""
