"""What people see who wait."""

import io
import sys

from mmdhp.costs.progress_bar import ProgressBar


def test_the_bar_is_for_terminals(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, 'stderr', stream)
        bar = ProgressBar('Measuring', 4)
        bar.show(1)
        bar.show(4)
        text = stream.getvalue()
        assert (text.count('\r') == 2) == stream.isatty()
        if stream.isatty():
            assert '[======                  ] 1/4' in text
            assert text.endswith('0 s left \n')
