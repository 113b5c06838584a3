"""Times by a clock that tests turn by hand."""

import io
import sys
import time

import pytest
import torch

from mmdhp.costs import measuring
from mmdhp.costs.measuring import ProgressBar, environment, interleaved

CPU = torch.device('cpu')


class Clock:
    """Time passes only when functions are called."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def function(self, name, *seconds):
        """Takes these seconds, one after the other; the last ever after."""
        left = list(seconds)

        def run():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_the_median_of_the_faster_half():
    clock = Clock()
    first = clock.function('a', 9.0, 9.0, 0.5, 0.1, 0.4, 0.2, 0.3)
    second = clock.function('b', 2.0)
    found = interleaved([first, second], CPU, rounds=5, clock=clock)
    assert found == pytest.approx([200.0, 2000.0])
    assert clock.calls == ['a', 'b'] * 7


def test_short_functions_run_several_times_per_sample():
    clock = Clock()
    (found,) = interleaved(
        [clock.function('a', 1e-4)], CPU, rounds=3, clock=clock
    )
    assert found == pytest.approx(0.1)
    assert len(clock.calls) == 2 + 3 * 3


def test_time_that_is_short_makes_fewer_samples():
    clock = Clock()
    function = clock.function('a', 1.0)
    interleaved([function], CPU, rounds=50, seconds=0.0, clock=clock)
    assert len(clock.calls) == 2 + 3


def test_nothing_takes_no_time():
    assert interleaved([], CPU) == []


def test_one_thread_goes_by_the_time_that_it_computes():
    assert measuring.best_clock(CPU) is time.thread_time
    with measuring.threads(2):
        assert measuring.best_clock(CPU) is time.perf_counter
        assert environment(CPU)['threads'] == 2
    assert torch.get_num_threads() == 1


def test_waiting_is_not_computing():
    (found,) = interleaved([lambda: time.sleep(0.02)], CPU, rounds=3)
    assert found < 10


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
