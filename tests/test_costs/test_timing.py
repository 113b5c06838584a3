"""Times by a clock that tests turn by hand."""

import time

import pytest
import torch

from mmdhp.costs import timing
from mmdhp.costs.store import environment
from mmdhp.costs.timing import interleaved, latencies, undisturbed

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


def test_calls_take_turns_and_the_warm_up_does_not_count():
    seen = []
    calls = [lambda: seen.append('a'), lambda: seen.append('b')]
    times = interleaved(calls, CPU, rounds=3, warm_up=2)
    assert seen == ['a', 'b'] * 5
    assert [len(own) for own in times] == [3, 3]
    assert all(value > 0 for own in times for value in own)


def test_any_clock_can_tell_the_time():
    ticks = iter([0.0, 1.0, 10.0, 12.0, 20.0, 25.0, 30.0, 34.0])
    calls = [lambda: None, lambda: None]
    found = interleaved(calls, CPU, rounds=2, clock=lambda: next(ticks))
    assert found == [[1.0, 5.0], [2.0, 4.0]]


def test_latencies_are_medians_of_interleaved_runs():
    calls = []

    def forward(model, inputs):
        calls.append(model)

    models = [torch.nn.Identity(), torch.nn.Identity()]
    found = latencies(models, torch.zeros(1), forward, rounds=3)
    assert calls == models * 4
    assert len(found) == 2
    assert all(0 < value < 1e3 for value in found)


def test_the_median_of_the_faster_half():
    clock = Clock()
    first = clock.function('a', 9.0, 9.0, 0.5, 0.1, 0.4, 0.2, 0.3)
    second = clock.function('b', 2.0)
    found = undisturbed([first, second], CPU, rounds=5, clock=clock)
    assert found == pytest.approx([200.0, 2000.0])
    assert clock.calls == ['a', 'b'] * 7


def test_short_functions_run_several_times_per_sample():
    clock = Clock()
    (found,) = undisturbed(
        [clock.function('a', 1e-4)], CPU, rounds=3, clock=clock
    )
    assert found == pytest.approx(0.1)
    assert len(clock.calls) == 2 + 3 * 3


def test_time_that_is_short_makes_fewer_samples():
    clock = Clock()
    function = clock.function('a', 1.0)
    undisturbed([function], CPU, rounds=50, seconds=0.0, clock=clock)
    assert len(clock.calls) == 2 + 3


def test_nothing_takes_no_time():
    assert undisturbed([], CPU) == []


def test_one_thread_goes_by_the_time_that_it_computes():
    assert timing.best_clock(CPU) is time.thread_time
    with timing.threads(2):
        assert timing.best_clock(CPU) is time.perf_counter
        assert environment(CPU)['threads'] == 2
    assert torch.get_num_threads() == 1


def test_waiting_is_not_computing():
    (found,) = undisturbed([lambda: time.sleep(0.02)], CPU, rounds=3)
    assert found < 10
