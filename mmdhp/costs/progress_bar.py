"""How far a measurement is, for those who wait for it."""

import sys
import time

_BAR = 24  # characters


class ProgressBar:
    """A line on a terminal that is written again and again.

    Args:
        title (str): What is going on.
        total (int): Number of steps.
    """

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self._begin = time.monotonic()
        self._shown = sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Say how many steps are done; the last one ends the line."""
        if not self._shown:
            return
        full = _BAR * done // max(self.total, 1)
        spent = time.monotonic() - self._begin
        left = spent / max(done, 1) * (self.total - done)
        sys.stderr.write(
            f'\r{self.title} [{"=" * full}{" " * (_BAR - full)}] '
            f'{done}/{self.total}, {spent:.0f} s, {left:.0f} s left '
            + ('\n' if done == self.total else '')
        )
        sys.stderr.flush()
