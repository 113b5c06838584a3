"""Collects the parts of a report while it is made."""

import os.path as osp
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

from matplotlib.figure import Figure

from .drawing.page import Section
from .drawing.style import NARROW, WIDE, figure_style, save_png, svg_of
from .work_dir import WorkDir


@dataclass
class Builder:
    """Collects sections, and writes every figure beside the page, too.

    Attributes:
        run (WorkDir): What is reported.
        folder (str): Where the PNG files go.
        metric (str): The measure that figures show; empty without any.
        sections (list[Section]): So far.
        files (list[str]): Paths of the PNG files.
    """

    run: WorkDir
    folder: str
    metric: str
    sections: list[Section] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def add(self, title: str, *parts: str) -> None:
        """Add a section."""
        self.sections.append(Section(title, '\n'.join(parts)))

    def picture(
        self, name: str, label: str, draw: Callable[[float], Figure]
    ) -> str:
        """Draw a figure for a desk, for a phone, and as a file.

        Args:
            name (str): Of the file, without ``.png``.
            label (str): What it shows, in words.
            draw (Callable): Draws it at a width in inches.
        """
        path = osp.join(self.folder, f'{name}.png')
        text = escape(label, quote=True)
        with figure_style():
            wide = draw(WIDE)
            save_png(wide, path)
            both = [
                f'<div class="{kind}">{svg_of(figure, f"{name}-{kind}", text)}'
                '</div>'
                for kind, figure in (('wide', wide), ('narrow', draw(NARROW)))
            ]
        self.files.append(path)
        return f'<figure>{"".join(both)}</figure>'
